// The controller's events for people: one line each, diffs below.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"

namespace consort::cli {

// Which column would be the same in every row, and is left out.
enum class Where : std::uint8_t { service_and_host, service, host };

// Lays events out as they come. On a terminal (width > 0) the day is a line of its own and the time
// of day begins each line; elsewhere each line has its full time. Columns grow with their content
// and never shrink.
class EventPrinter {
 public:
  EventPrinter(Where where, std::size_t width) : where_(where), width_(width) {}
  // Widens the columns for events that are known before they are printed.
  void measure(const Json& event);
  [[nodiscard]] std::string render(const Json& event);

 private:
  [[nodiscard]] std::string place(const Json& event) const;
  Where where_;
  std::size_t width_;
  std::size_t kind_width_ = 0;
  std::size_t place_width_ = 0;
  std::string day_;
};

}  // namespace consort::cli
