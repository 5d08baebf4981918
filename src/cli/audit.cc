// consort audit: who changed what, and whether the log tells the truth.
#include <fmt/format.h>

#include "access/audit.h"
#include "base/text.h"
#include "cli/audit_view.h"
#include "cli/context.h"
#include "cli/rows.h"
#include "cli/terminal.h"

namespace consort::cli {
namespace {

constexpr std::size_t kPage = 1000;

// All entries after `after`, page by page.
Result<std::vector<Json>> fetch(http::Client& client, std::uint64_t after, std::size_t limit) {
  std::vector<Json> out;
  while (out.size() < limit) {
    const Json page = TRY(client.get_json(
        fmt::format("/v1/audit?after={}&limit={}", after, std::min(kPage, limit - out.size()))));
    const Json* entries = page.find("entries");
    if (entries == nullptr || !entries->is_array() || entries->as_array().empty()) break;
    for (const Json& entry : entries->as_array()) {
      after = static_cast<std::uint64_t>(entry.int_or("number"));
      out.push_back(entry);
    }
  }
  return out;
}

// Checks the whole chain against the head that the controller names, and against one that was kept.
Result<int> verify_all(http::Client& client, const Arguments& arguments) {
  access::AuditHead head;
  std::uint64_t count = 0;
  const std::string kept = arguments.value("--head");
  bool kept_seen = kept.empty();
  // The end as it is now: what is written meanwhile comes after it.
  const Json told = TRY(client.get_json("/v1/audit?after=0&limit=1"));
  const Json* end = told.find("head");
  if (end == nullptr || !end->is_object())
    return fail(ErrorCode::unavailable, "the controller does not tell the end of its audit log");
  bool end_seen = end->int_or("number") == 0;
  while (true) {
    const auto page = TRY(fetch(client, head.number, kPage));
    if (page.empty()) break;
    std::vector<access::AuditEntry> entries;
    for (const Json& json : page) entries.push_back(TRY(access::audit_entry_from_json(json)));
    if (const auto broken = access::verify(entries, head)) {
      return fail(ErrorCode::corrupt, fmt::format("the audit log is broken at entry {}: {}",
                                                  broken->number, broken->what))
          .hint("somebody changed the store; compare with an exported copy: consort audit --json");
    }
    for (const access::AuditEntry& entry : entries) {
      kept_seen = kept_seen || entry.hash.str() == kept;
      end_seen = end_seen || entry.hash.str() == end->string_or("hash");
    }
    head = access::head_of(entries.back());
    count += entries.size();
  }
  if (!end_seen)
    return fail(ErrorCode::corrupt, "the audit log ends before its head: entries are missing")
        .hint("compare with an exported copy: consort audit --json");
  if (!kept_seen)
    return fail(ErrorCode::corrupt,
                fmt::format("no entry has the hash {}: it is mistyped or of another controller, or "
                            "the log was written anew",
                            kept.substr(0, 80)))
        .hint(
            "look at the head that you kept once more; then compare with an exported copy: consort "
            "audit --json");
  print(arguments.json()
            ? Json::object({{"entries", count}, {"head", head.hash.str()}}).dump() + "\n"
            : fmt::format(
                  "{} entries, unbroken; keep the head elsewhere, and next time say --head:\n{}\n",
                  count, head.hash.str()));
  return kOk;
}

Result<int> run(const Arguments& arguments) {
  if (arguments.has("--head") && !Digest::parse(arguments.value("--head")))
    return fail(ErrorCode::usage,
                fmt::format("--head {}: this is no hash", arguments.value("--head").substr(0, 80)))
        .hint("sha256: and 64 hex digits, as `consort audit --verify` printed it at the time");
  http::Client client = TRY(controller_client(arguments));
  if (arguments.has("--verify") || arguments.has("--head")) return verify_all(client, arguments);
  const auto entries = TRY(fetch(client, 0, SIZE_MAX));
  if (arguments.json()) {
    for (const Json& entry : entries) print(entry.dump() + "\n");
    return kOk;
  }
  std::vector<access::AuditEntry> shown;
  for (const Json& json : entries) shown.push_back(TRY(access::audit_entry_from_json(json)));
  print(shown.empty() ? "nothing has been changed yet\n" : render_audit(shown, output_width()));
  return kOk;
}

}  // namespace

Command audit_command() {
  return {
      "audit",
      "Show who changed what, from where, and why; check that nobody changed the log.",
      "Every entry carries the hash of the one before. Whoever keeps the last hash elsewhere can "
      "tell whether the log was written anew. With --json: one entry a line, for other systems.",
      {},
      {{"--verify", "", "Check the whole chain."},
       {"--head", "DIGEST",
        "A hash from an earlier time, which must still be there; implies --verify."}},
      run,
      false,
      false,
      "consort audit --verify"};
}

}  // namespace consort::cli
