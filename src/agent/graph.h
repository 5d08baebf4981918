// The order of resources: explicit `after` and what is implied by paths, users, groups and use.
// Pure.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "agent/resource.h"

namespace consort::agent {

// Per resource, the resources that come before it, sorted. In one list for all, for hosts with many
// files, which need none.
class Needs {
 public:
  Needs() = default;
  explicit Needs(const std::vector<std::vector<std::uint32_t>>& lists);
  [[nodiscard]] std::span<const std::uint32_t> operator[](std::uint32_t i) const {
    return std::span(all_).subspan(begins_[i], begins_[i + 1] - begins_[i]);
  }

 private:
  std::vector<std::uint32_t> all_;
  std::vector<std::uint32_t> begins_;  // and one end
};

struct Graph {
  Needs needs;
  std::vector<std::uint32_t> order;  // topological and stable
  std::shared_ptr<const PathSet>
      claimed;  // every path that a resource decides on; of a built graph never null
  std::shared_ptr<const PathSet> owned;  // … and on all that is below it; as claimed
};

// Errors: conflict when two resources claim one thing with different wishes (both named);
// invalid_input for an `after` that names nothing (with a likely fix) and for a cycle (with its
// path).
[[nodiscard]] Result<Graph> build_graph(const std::vector<std::unique_ptr<Resource>>& resources);

}  // namespace consort::agent
