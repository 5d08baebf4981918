// What every benchmark needs: processor time, memory, medians, and one JSON record at the end. A
// figure stands beside a floor that was measured in the same run: the ratio travels between
// machines, the figure does not.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace consort::bench {

struct Cost {
  double cpu = 0;   // seconds, user and system, all threads of this process
  double wall = 0;  // seconds
};
[[nodiscard]] Cost cost_of(const std::function<void()>& work);
// The run with the median processor time. `before` runs ahead of each, unmeasured.
[[nodiscard]] Cost median_cost(int runs, const std::function<void()>& work,
                               const std::function<void()>& before = nullptr);

[[nodiscard]] double median(std::vector<double> values);
// part: 0 to 1. The smallest value that is not less than this part of all.
[[nodiscard]] double percentile(std::vector<double> values, double part);

// RssAnon of a process, bytes. 0: this one.
[[nodiscard]] std::int64_t anonymous_memory(pid_t pid = 0);
// What all present threads of another process have run so far, seconds.
[[nodiscard]] double cpu_of_process(pid_t pid);

// To standard error: what is being done.
void say(const std::string& text);
// Ends the program with what went wrong: a benchmark of something broken measures nothing.
[[noreturn]] void give_up(const std::string& text);
template <class T>
[[nodiscard]] T must(Result<T> result) {
  if (!result) give_up(render_error(result.error()));
  return std::move(*result);
}
inline void must(const Status& status) {
  if (!status) give_up(render_error(status.error()));
}

struct Figure {
  std::string name;
  double value = 0;
  std::string unit;
  std::optional<double> floor;  // in the same unit
  std::string floor_is;         // what the floor does
  std::optional<double> goal;   // of the ratio if there is a floor, else of the value
  enum class Better : std::uint8_t { less, more };
  Better better = Better::less;
};

// Collects figures; print() writes the record, one per program, to standard output.
class Record {
 public:
  explicit Record(std::string name) : name_(std::move(name)) {}
  void add(const Figure& figure);
  // Also under its name at the root of the record, for those who look up just that.
  void add_key(const Figure& figure);
  void print() const;

 private:
  std::string name_;
  Json::Array figures_;
  Json::Object keys_;
};

}  // namespace consort::bench
