// Whether this host believes its controller: only what is signed by the keys of its trust list, or
// everything where it has none. DATA/trust.json is put there by whoever keeps the host, never by
// the controller; DATA/state/accepted.json remembers how far the signatures have come. ADR 0013.
// Used on the loop's thread only.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "agent/core.h"
#include "base/files.h"
#include "signing/acceptance.h"

namespace consort::agent {

class Trust {
 public:
  // `list`: a trust list to keep from now on; empty: the one that is kept already. A kept file that
  // cannot be read leaves a Trust that believes nothing. Errors: io, invalid_input (`list`).
  [[nodiscard]] static Result<Trust> open(const fs::path& data, const fs::path& list);

  // Whose word counts for secrets; nullopt: everybody's. Of a list that cannot be read: nobody's.
  [[nodiscard]] std::optional<signing::TrustList> list() const;
  [[nodiscard]] bool asked_for() const { return list_.has_value() || !broken_.empty(); }
  // Durable when it returns ok. Errors: forbidden; io (the disk).
  [[nodiscard]] Status check(const std::string& host, const Core& core, const plan::Target& target);

  // Why the newest target is refused; "" when it is not.
  [[nodiscard]] const std::string& refusal() const { return refusal_; }
  // What the controller is told: attempts and duties that are refused count as failed.
  void tell(plan::HostReport& report) const;

 private:
  [[nodiscard]] Status judge(const std::string& host, const Core& core, const plan::Target& target);
  fs::path accepted_file_;
  std::optional<signing::TrustList> list_;
  std::string broken_;  // why nothing can be believed
  signing::Accepted accepted_;
  std::string refusal_;
  std::map<std::string, plan::TargetEntry> refused_;  // what would have changed something
};

}  // namespace consort::agent
