// The groups of a plan under the policy oneAtATime: one datacenter after another.
#pragma once

#include "plan/difference.h"

namespace consort::plan {

class Groups {
 public:
  // Error refused: a service would have to change before one that it needs.
  [[nodiscard]] static Result<Groups> find(const PlanInput& input, const Difference& difference);

  // In the order of the plan; [""] where the policy asks for none.
  [[nodiscard]] const std::vector<std::string>& all() const { return all_; }
  [[nodiscard]] std::string of(const std::string& host) const;
  // The first and the last group in which an instance of the service changes or comes.
  [[nodiscard]] bool is_first(const std::string& group, const std::string& service) const;
  [[nodiscard]] bool is_last(const std::string& group, const std::string& service) const;

 private:
  struct Range {
    std::string first;
    std::string last;
    friend bool operator==(const Range&, const Range&) = default;
  };
  explicit Groups(const Generation& wanted) : wanted_(&wanted) {}
  [[nodiscard]] Status check_order(bool backwards) const;

  const Generation* wanted_;
  std::vector<std::string> all_;
  std::map<std::string, Range> ranges_;  // service → its groups
};

}  // namespace consort::plan
