// How much of one kind is told to the logs, which only grow: whoever holds a host or a join token
// decides how often there is something to tell. Pure values, not thread-safe; a controller that
// starts anew has forgotten them.
#pragma once

#include <cstddef>
#include <map>
#include <set>
#include <string>

#include "base/time.h"

namespace consort::controller {

// The same at most once in each kGrain.
class OnceAMinute {
 public:
  static constexpr Duration kGrain = minutes(1);

  // Whether `what` may be told now; it counts as told then. A clock that was set back forgets.
  [[nodiscard]] bool take(const std::string& what, Instant now);
  [[nodiscard]] std::size_t remembered() const { return told_.size(); }

 private:
  std::map<std::string, Instant> told_;
};

// What was found about each host. One that makes it change all the time fills its own share only.
class ToldFindings {
 public:
  static constexpr std::size_t kOfHost = 5;
  static constexpr Duration kShareOf = hours(1);

  // The same of a host is told once; when its share is used up, others are from kShareOf after the
  // last one on.
  [[nodiscard]] bool take(const std::string& host, const std::string& text, Instant now);

 private:
  struct Share {
    std::set<std::string> texts;
    Instant last{};
  };
  std::map<std::string, Share> of_;
};

}  // namespace consort::controller
