// How much of one kind is told to the logs, which only grow: whoever holds a host or a join token
// decides how often there is something to tell. Pure values, not thread-safe; a controller that
// starts anew has forgotten them.
#pragma once

#include <cstddef>
#include <deque>
#include <map>
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

// The bytes of reports that a host may have stored: many at once after an absence, and no more than
// honest agents ever send in the long run.
class ReportPace {
 public:
  static constexpr std::size_t kAtOnce = 16U << 20U;
  static constexpr std::size_t kEachSecond = 64U << 10U;

  // Whether this one may be taken now; it counts then.
  [[nodiscard]] bool take(const std::string& host, std::size_t bytes, Instant now);

 private:
  struct Share {
    std::size_t used = 0;
    Instant as_of{};
  };
  std::map<std::string, Share> of_;
};

// What was found about each host. One that makes it change all the time fills its own share only.
class ToldFindings {
 public:
  static constexpr std::size_t kOfHost = 5;
  static constexpr Duration kShareOf = hours(1);

  // The last kOfHost of a host are not told again; when its share is used up, another one is
  // kShareOf after the last.
  [[nodiscard]] bool take(const std::string& host, const std::string& text, Instant now);

 private:
  struct Share {
    std::deque<std::string> texts;
    Instant last{};
  };
  std::map<std::string, Share> of_;
};

}  // namespace consort::controller
