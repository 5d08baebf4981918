#include "agent/graph.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>
#include <queue>
#include <unordered_map>

#include "base/text.h"

namespace consort::agent {
namespace {

using Resources = std::vector<std::unique_ptr<Resource>>;

class GraphBuilder {
 public:
  explicit GraphBuilder(const Resources& resources) : resources_(resources) {
    needs_.resize(resources.size());
  }

  Result<Graph> build() {
    TRYV(register_claims());
    TRYV(add_explicit());
    for (std::uint32_t i = 0; i < resources_.size(); ++i) TRYV(add_implied(i));
    for (auto& needs : needs_) {
      std::sort(needs.begin(), needs.end());
      needs.erase(std::unique(needs.begin(), needs.end()), needs.end());
    }
    TRYV(sort());
    graph_.needs = Needs(needs_);
    return std::move(graph_);
  }

 private:
  Status register_claims() {
    std::vector<std::string> claimed;
    std::vector<std::string> owned;
    for (std::uint32_t i = 0; i < resources_.size(); ++i) {
      for (std::string& key : resources_[i]->claims()) {
        const auto [it, fresh] = claims_.emplace(key, i);
        if (!fresh && resources_[it->second]->wish() != resources_[i]->wish())
          return contradiction(key, it->second, i, "with different wishes");
        if (key.front() != '/') continue;
        if (resources_[i]->decides_below()) owned.push_back(key);
        claimed.push_back(std::move(key));
      }
      for (std::string& key : resources_[i]->provides()) made_.emplace(std::move(key), i);
    }
    graph_.claimed = std::make_shared<const PathSet>(std::move(claimed));
    graph_.owned = std::make_shared<const PathSet>(std::move(owned));
    return {};
  }

  [[nodiscard]] Failure contradiction(const std::string& key, std::uint32_t a, std::uint32_t b,
                                      std::string_view how) const {
    return fail(ErrorCode::conflict,
                fmt::format("the resources '{}' and '{}' both claim {} {}", resources_[a]->name(),
                            resources_[b]->name(), key, how))
        .hint("keep one of them, or give them different paths or names");
  }

  Status add_explicit() {
    std::map<std::string, std::uint32_t, std::less<>> by_name;
    for (std::uint32_t i = 0; i < resources_.size(); ++i) by_name.emplace(resources_[i]->name(), i);
    for (std::uint32_t i = 0; i < resources_.size(); ++i) {
      for (const std::string& name : resources_[i]->common().after) {
        const auto it = by_name.find(name);
        if (it == by_name.end()) {
          const std::string meant = did_you_mean(name, by_name);
          return fail(ErrorCode::invalid_input,
                      fmt::format("resources.{}.after: there is no resource '{}'",
                                  resources_[i]->name(), name))
              .hint(meant.empty() ? "name a resource of the same document"
                                  : fmt::format("did you mean '{}'?", meant));
        }
        add(i, it->second);
      }
    }
    return {};
  }

  void add(std::uint32_t from, std::uint32_t to) {
    if (from != to) needs_[from].push_back(to);
  }

  Status add_implied(std::uint32_t i) {
    for (const std::string& key : resources_[i]->claims()) {
      if (key.front() == '/') TRYV(add_ancestors(i, key, Relation::claims));
    }
    for (const std::string& key : resources_[i]->uses()) {
      connect(i, key);
      if (key.front() != '/') continue;
      TRYV(add_ancestors(i, key, Relation::uses));
      if (resources_[i]->is_daemon()) add_descendants(i, key);
    }
    return {};
  }

  void connect(std::uint32_t i, const std::string& key) {
    for (const auto* index : {&claims_, &made_}) {
      const auto it = index->find(key);
      if (it == index->end()) continue;
      const bool provider_absent = resources_[it->second]->wants_absence();
      // What is to go goes after what used it is gone.
      if (provider_absent && resources_[i]->wants_absence()) add(it->second, i);
      if (!provider_absent) add(i, it->second);
    }
  }

  enum class Relation : std::uint8_t { claims, uses };

  Status add_ancestors(std::uint32_t i, const std::string& path, Relation relation) {
    for (std::string at = parent_of(path); at != "/"; at = parent_of(at)) {
      const auto it = claims_.find(at);
      if (relation == Relation::claims && it != claims_.end() && it->second != i &&
          !resources_[i]->wants_absence()) {
        const Resource& above = *resources_[it->second];
        if (above.wants_absence())
          return contradiction(at, it->second, i,
                               fmt::format("(one wants it absent, the other wants {})", path));
        if (above.type() == "file")
          return contradiction(
              at, it->second, i,
              fmt::format("(one as a file, the other as a directory for {})", path));
      }
      connect(i, at);
    }
    return {};
  }

  // A daemon that is given a directory reads what is in it.
  void add_descendants(std::uint32_t i, const std::string& path) {
    for (const std::string_view key : graph_.claimed->below(path)) connect(i, std::string(key));
  }

  Status sort() {
    const std::size_t count = resources_.size();
    std::vector<std::uint32_t> open(count);
    std::vector<std::vector<std::uint32_t>> dependents(count);
    for (std::uint32_t i = 0; i < count; ++i) {
      open[i] = static_cast<std::uint32_t>(needs_[i].size());
      for (const std::uint32_t need : needs_[i]) dependents[need].push_back(i);
    }
    std::priority_queue<std::uint32_t, std::vector<std::uint32_t>, std::greater<>> ready;
    for (std::uint32_t i = 0; i < count; ++i) {
      if (open[i] == 0) ready.push(i);
    }
    graph_.order.reserve(count);
    while (!ready.empty()) {
      const std::uint32_t i = ready.top();
      ready.pop();
      graph_.order.push_back(i);
      for (const std::uint32_t next : dependents[i]) {
        if (--open[next] == 0) ready.push(next);
      }
    }
    return graph_.order.size() == count ? Status() : cycle(open);
  }

  // Every resource that is left needs another that is left: following them must come back.
  [[nodiscard]] Failure cycle(const std::vector<std::uint32_t>& open) const {
    const auto left = [&](std::uint32_t i) { return open[i] != 0; };
    std::vector<std::uint32_t> path;
    auto at = static_cast<std::uint32_t>(
        std::find_if(open.begin(), open.end(), [](std::uint32_t n) { return n != 0; }) -
        open.begin());
    while (std::find(path.begin(), path.end(), at) == path.end()) {
      path.push_back(at);
      at = *std::find_if(needs_[at].begin(), needs_[at].end(), left);
    }
    path.erase(path.begin(), std::find(path.begin(), path.end(), at));
    path.push_back(at);
    std::string text;
    for (const std::uint32_t i : path)
      text += (text.empty() ? "" : " after ") + resources_[i]->name();
    return fail(ErrorCode::invalid_input,
                fmt::format("resources wait for each other in a circle: {}", text))
        .hint("take one 'after' out; paths, users and groups imply an order too");
  }

  const Resources& resources_;
  Graph graph_;
  std::vector<std::vector<std::uint32_t>> needs_;
  std::unordered_map<std::string, std::uint32_t> claims_;
  std::unordered_map<std::string, std::uint32_t> made_;
};

}  // namespace

Needs::Needs(const std::vector<std::vector<std::uint32_t>>& lists) {
  begins_.reserve(lists.size() + 1);
  for (const auto& list : lists) {
    begins_.push_back(static_cast<std::uint32_t>(all_.size()));
    all_.insert(all_.end(), list.begin(), list.end());
  }
  begins_.push_back(static_cast<std::uint32_t>(all_.size()));
  all_.shrink_to_fit();
}

Result<Graph> build_graph(const std::vector<std::unique_ptr<Resource>>& resources) {
  return GraphBuilder(resources).build();
}

}  // namespace consort::agent
