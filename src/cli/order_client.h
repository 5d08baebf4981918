// The demo's customer: places orders at the load balancer all the time and writes down every
// answer.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/time.h"

namespace consort::cli {

struct OrderAnswer {
  Instant at{};  // when the answer came
  bool acknowledged = false;
  std::int64_t number = 0;  // of an acknowledged order
  std::int64_t quantity = 0;
  std::string release;  // "v1"
  std::string host;     // "web1"
  std::string problem;  // of another answer
};

// The customer's own main: orders until SIGTERM, `every` apart, one at a time; one JSON line each
// in `record`.
[[nodiscard]] Result<int> order_client_main(const std::string& url, const fs::path& record,
                                            Duration every);

// What the customer has written down so far. A line that is only half there is left for the next
// call.
class OrderRecord {
 public:
  explicit OrderRecord(fs::path file) : file_(std::move(file)) {}
  [[nodiscard]] Status refresh();
  [[nodiscard]] const std::vector<OrderAnswer>& answers() const { return answers_; }
  // Since the answer with this index:
  [[nodiscard]] std::size_t acknowledged_since(std::size_t begin) const;
  [[nodiscard]] std::vector<const OrderAnswer*> refused_since(std::size_t begin) const;
  [[nodiscard]] std::set<std::string> releases_since(std::size_t begin) const;
  // The longest time between two acknowledged orders; zero when no order was refused.
  [[nodiscard]] Duration longest_gap_since(std::size_t begin) const;
  [[nodiscard]] std::map<std::int64_t, std::int64_t> all_acknowledged() const;  // number → quantity

 private:
  fs::path file_;
  std::size_t read_ = 0;  // bytes
  std::vector<OrderAnswer> answers_;
};

}  // namespace consort::cli
