#include "controller/audit_log.h"

#include <fmt/format.h>

#include <charconv>

namespace consort::controller {
namespace {

constexpr std::size_t kPage = 1000;
constexpr std::string_view kHeadKey = "audited";

// Twelve digits: in the order of the keys.
std::string key_of(std::uint64_t number) { return fmt::format("audit/{:012}", number); }

Result<access::AuditHead> head_from_text(std::string_view text) {
  access::AuditHead out;
  const std::size_t space = text.find(' ');
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), out.number);
  if (space == std::string_view::npos || parsed.ptr != text.data() + space)
    return fail(ErrorCode::corrupt, fmt::format("the store's key {} is damaged", kHeadKey));
  out.hash = TRY(Digest::parse(text.substr(space + 1)));
  return out;
}

}  // namespace

void write_audit_entry(const access::AuditEntry& entry, AuditWrites& writes) {
  writes[key_of(entry.number)] = access::audit_entry_to_json(entry).dump();
  writes[std::string(kHeadKey)] = fmt::format("{} {}", entry.number, entry.hash.str());
}

Result<std::vector<access::AuditEntry>> audit_entries(state::StateStore& store, std::uint64_t after,
                                                      std::size_t limit) {
  std::vector<access::AuditEntry> out;
  for (const state::Entry& entry : TRY(store.range("audit/", limit, key_of(after)))) {
    auto read = access::audit_entry_from_json(TRY(parse_json(entry.value, entry.key)));
    if (!read)
      return fail(ErrorCode::corrupt,
                  fmt::format("the store's key {}: {}", entry.key, read.error().message()));
    out.push_back(std::move(*read));
  }
  return out;
}

Result<access::AuditHead> load_audit_head(state::StateStore& store) {
  access::AuditHead head;
  if (const auto entry = TRY(store.get(kHeadKey))) head = TRY(head_from_text(entry->value));
  while (true) {
    const std::vector<access::AuditEntry> after = TRY(audit_entries(store, head.number, kPage));
    if (after.empty()) return head;
    head = access::head_of(after.back());
  }
}

Status add_audit_entry(state::StateStore& store, access::AuditNote note, AuditWrites& writes) {
  write_audit_entry(access::append(TRY(load_audit_head(store)), std::move(note)), writes);
  return {};
}

}  // namespace consort::controller
