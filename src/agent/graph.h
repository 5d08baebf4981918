// The order of resources: explicit `after` and what is implied by paths, users, groups and use.
// Pure.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "agent/resource.h"

namespace consort::agent {

struct Graph {
  std::vector<std::vector<std::uint32_t>>
      needs;                         // per resource, the resources that come before it, sorted
  std::vector<std::uint32_t> order;  // topological and stable
  std::shared_ptr<const PathSet> claimed;  // every path that a resource decides on; never null
};

// Errors: conflict when two resources claim one thing with different wishes (both named);
// invalid_input for an `after` that names nothing (with a likely fix) and for a cycle (with its
// path).
[[nodiscard]] Result<Graph> build_graph(const std::vector<std::unique_ptr<Resource>>& resources);

}  // namespace consort::agent
