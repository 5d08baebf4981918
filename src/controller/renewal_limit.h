// How often one identity is given a new certificate: each is an entry of the audit log and a
// signature of the authority, and whoever may look at the fleet may ask for one. A pure value, not
// thread-safe; a controller that starts anew has forgotten it.
#pragma once

#include <cstddef>
#include <map>
#include <string>

#include "base/error.h"
#include "base/time.h"

namespace consort::controller {

class RenewalLimit {
 public:
  // Who lost some answers may ask again at once; in the long run one is given in each kEvery.
  static constexpr int kAtOnce = 10;
  static constexpr Duration kEvery = seconds(30);

  // Counts one certificate for `who` ("host web1"). Error unavailable, with when to ask again;
  // nothing is counted then. A clock that was set back costs at most kAtOnce times kEvery.
  [[nodiscard]] Status take(const std::string& who, Instant now);
  [[nodiscard]] std::size_t remembered() const { return paid_until_.size(); }

 private:
  // What was given is paid for with time. Who has paid for all of it is forgotten.
  std::map<std::string, Instant> paid_until_;
};

}  // namespace consort::controller
