// The audit log: append-only entries, each with the hash of the one before, so that whoever knows
// the last hash (the head) finds any entry that was changed, removed, added or moved. It does not
// keep somebody who can write the whole log from writing another one: keep heads elsewhere.
// Pure; thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/json.h"
#include "base/time.h"

namespace consort::access {

// What happened, before it has a place in the chain. Texts are cut to kMaxAuditText bytes; what is
// no UTF-8 or a control character becomes '?'. Never put a secret here.
struct AuditNote {
  enum class Outcome : std::uint8_t { done, refused, failed };
  Instant at{};
  std::string who;        // principal_text()
  std::string from{};     // address
  std::string action{};   // action_name(), or what the controller did by itself
  std::string subject{};  // "web1", "services shop, db", "rollout r000012"
  std::string before{};   // digest or short text; "" for nothing
  std::string after{};
  std::string reason{};  // the decision's, or the operator's message
  Outcome outcome = Outcome::done;
};

struct AuditEntry {
  std::uint64_t number = 0;  // from 1, without gaps
  AuditNote note;
  Digest previous;  // hash of the entry before; none for the first
  Digest hash;      // of the entry's canonical bytes without this field
};

// The end of a log: what the next entry is chained to.
struct AuditHead {
  std::uint64_t number = 0;
  Digest hash{};
  friend bool operator==(const AuditHead&, const AuditHead&) = default;
};
[[nodiscard]] inline AuditHead head_of(const AuditEntry& entry) {
  return {entry.number, entry.hash};
}

inline constexpr std::size_t kMaxAuditText = 4096;
inline constexpr std::size_t kMaxAuditLine = 256U << 10U;

[[nodiscard]] AuditEntry append(const AuditHead& head, AuditNote note);

struct AuditBreak {
  std::size_t index =
      0;  // of the first entry that is wrong; entries.size() when the end is missing
  std::uint64_t number = 0;  // which number should stand there
  std::string what;
};
// The first place at which the chain from `start` (AuditHead{} for a whole log) is broken, if any.
// `expected`: the head as known from elsewhere; without it, entries missing at the end, or a log
// that was written anew from some place on, cannot be told.
[[nodiscard]] std::optional<AuditBreak> verify(std::span<const AuditEntry> entries,
                                               const AuditHead& start = {},
                                               const std::optional<AuditHead>& expected = {});

[[nodiscard]] std::string_view outcome_name(AuditNote::Outcome outcome);
[[nodiscard]] Json audit_entry_to_json(const AuditEntry& entry);
// Strict. Does not check hashes: that is verify().
[[nodiscard]] Result<AuditEntry> audit_entry_from_json(const Json& json);
// One entry a line, each with a newline.
[[nodiscard]] std::string audit_lines(std::span<const AuditEntry> entries);
// The inverse: every line must be exactly as audit_lines() writes it, so that nothing that people
// may read in a file (a member that stands twice, say) escapes the hashes. Errors: invalid_input
// with the line, too_large.
[[nodiscard]] Result<std::vector<AuditEntry>> audit_from_lines(std::string_view text);

}  // namespace consort::access
