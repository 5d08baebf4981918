#include "access/audit.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "access/records.h"
#include "base/text.h"

namespace consort::access {
namespace {

constexpr std::array<std::string_view, 3> kOutcomes = {"done", "refused", "failed"};
// A change of the form must change all hashes.
constexpr std::string_view kForm = "consort audit 1\n";
constexpr std::int64_t kMostNumber = std::int64_t{1} << 53U;

constexpr std::array kTexts = {&AuditNote::who,     &AuditNote::from,   &AuditNote::action,
                               &AuditNote::subject, &AuditNote::before, &AuditNote::after,
                               &AuditNote::reason};
constexpr std::array<std::string_view, kTexts.size()> kTextNames = {
    "who", "from", "action", "subject", "before", "after", "reason"};

bool is_control(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte < 0x20 || byte == 0x7f;
}

bool is_clean(std::string_view text) {
  return text.size() <= kMaxAuditText && is_utf8(text) &&
         std::none_of(text.begin(), text.end(), is_control);
}

std::string cleaned(std::string text) {
  if (!is_utf8(text))
    std::replace_if(
        text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) >= 0x80; },
        '?');
  std::replace_if(text.begin(), text.end(), is_control, '?');
  if (text.size() > kMaxAuditText) {
    text.resize(kMaxAuditText);
    while (!is_utf8(text)) text.pop_back();
  }
  return text;
}

Json without_hash(const AuditEntry& entry) {
  Json out = Json::object({{"number", entry.number},
                           {"at", format_instant(entry.note.at)},
                           {"outcome", outcome_name(entry.note.outcome)},
                           {"previous", entry.previous.str()}});
  for (std::size_t i = 0; i < kTexts.size(); ++i) out[kTextNames[i]] = entry.note.*kTexts[i];
  return out;
}

Digest hash_of(const AuditEntry& entry) {
  // There are no fractions in it, so it has a canonical form.
  return Digest::of(std::string(kForm) + without_hash(entry).canonical().value());
}

}  // namespace

std::string_view outcome_name(AuditNote::Outcome outcome) {
  const auto index = static_cast<std::size_t>(outcome);
  return index < kOutcomes.size() ? kOutcomes[index] : "?";
}

AuditEntry append(const AuditHead& head, AuditNote note) {
  for (const auto text : kTexts) note.*text = cleaned(std::move(note.*text));
  AuditEntry out{head.number + 1, std::move(note), head.hash, {}};
  out.hash = hash_of(out);
  return out;
}

std::optional<AuditBreak> verify(std::span<const AuditEntry> entries, const AuditHead& start,
                                 const std::optional<AuditHead>& expected) {
  AuditHead head = start;
  if (expected && expected->number == start.number && expected->hash != start.hash)
    return AuditBreak{0, start.number + 1, "the log does not begin where it should"};
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const AuditEntry& entry = entries[i];
    const auto broken = [&](std::string what) {
      return AuditBreak{i, head.number + 1, std::move(what)};
    };
    if (entry.number != head.number + 1)
      return broken(
          fmt::format("entry {} stands where {} should: entries were removed, added or "
                      "moved",
                      entry.number, head.number + 1));
    if (entry.previous != head.hash)
      return broken(fmt::format("entry {} does not follow the one before it: either was changed",
                                entry.number));
    if (hash_of(entry) != entry.hash)
      return broken(
          fmt::format("entry {} is not what was written: its hash is another", entry.number));
    if (expected && expected->number == entry.number && expected->hash != entry.hash)
      return broken(
          fmt::format("entry {} is not the one that was known as the head: the log was "
                      "written anew",
                      entry.number));
    head = head_of(entry);
  }
  if (expected && head.number < expected->number)
    return AuditBreak{
        entries.size(), head.number + 1,
        fmt::format("the log ends with entry {}, and {} is known: its end was removed", head.number,
                    expected->number)};
  return std::nullopt;
}

Json audit_entry_to_json(const AuditEntry& entry) {
  Json out = without_hash(entry);
  out["hash"] = entry.hash.str();
  return out;
}

Result<AuditEntry> audit_entry_from_json(const Json& json) {
  JsonReader reader(json, "entry");
  AuditEntry out;
  out.number = static_cast<std::uint64_t>(reader.integer("number", std::nullopt, 1, kMostNumber));
  out.note.at = read_instant(reader, "at");
  const std::string outcome = reader.string("outcome");
  const auto it = std::find(kOutcomes.begin(), kOutcomes.end(), outcome);
  if (it == kOutcomes.end())
    reader.note(fail(ErrorCode::invalid_input, "entry.outcome: no such outcome"));
  else
    out.note.outcome = static_cast<AuditNote::Outcome>(it - kOutcomes.begin());
  for (std::size_t i = 0; i < kTexts.size(); ++i) {
    std::string text = reader.string(kTextNames[i]);
    if (!is_clean(text))
      reader.note(
          fail(ErrorCode::invalid_input,
               fmt::format("entry.{}: too long, no UTF-8, or control characters", kTextNames[i])));
    out.note.*kTexts[i] = std::move(text);
  }
  out.previous = read_digest(reader, "previous");
  out.hash = read_digest(reader, "hash");
  TRYV(reader.finish());
  return out;
}

std::string audit_lines(std::span<const AuditEntry> entries) {
  std::string out;
  for (const AuditEntry& entry : entries) out += audit_entry_to_json(entry).dump() + "\n";
  return out;
}

Result<std::vector<AuditEntry>> audit_from_lines(std::string_view text) {
  std::vector<AuditEntry> out;
  while (!text.empty()) {
    const std::size_t number = out.size() + 1;
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    const auto bad = [&](std::string_view why) {
      return fail(ErrorCode::invalid_input,
                  fmt::format("line {} of the audit log: {}", number, why));
    };
    if (end == std::string_view::npos) return bad("it has no end: was the file cut?");
    if (line.size() > kMaxAuditLine)
      return fail(ErrorCode::too_large,
                  fmt::format("line {} of the audit log has {} bytes", number, line.size()));
    const auto json = parse_json(line, "the audit log", {kMaxAuditLine, 8});
    if (!json) return bad(json.error().message());
    auto entry = audit_entry_from_json(*json);
    if (!entry) return bad(entry.error().message());
    if (audit_entry_to_json(*entry).dump() != line) return bad("it was not written by Consort");
    out.push_back(std::move(*entry));
    text.remove_prefix(end + 1);
  }
  return out;
}

}  // namespace consort::access
