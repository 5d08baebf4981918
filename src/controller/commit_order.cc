#include "controller/commit_order.h"

#include <algorithm>
#include <string_view>

namespace consort::controller {
namespace {

enum class Rank : int {
  epoch,
  reports,
  facts,
  budgets,
  runs,
  heads,
  audited,
  targets,
  log,
  erasures
};

Rank rank_of(std::string_view key, bool erases) {
  if (erases) return Rank::erasures;
  const std::string_view kind = key.substr(0, key.find('/'));
  if (kind == "epoch") return Rank::epoch;
  if (kind == "budgets") return Rank::budgets;
  if (kind == "current") return Rank::heads;
  if (kind == "hosts") return Rank::reports;
  if (kind == "targets") return Rank::targets;
  if (kind == "log") return Rank::log;
  // The head of the audit log after its entries.
  if (kind == "audited") return Rank::audited;
  if (kind != "rollouts") return Rank::facts;
  const std::string_view rest = key.substr(kind.size() + 1);
  if (rest.find('/') == std::string_view::npos) return Rank::heads;
  return rest.find("/runs") != std::string_view::npos ? Rank::runs : Rank::facts;
}

struct Unit {
  std::vector<Writes::node_type> writes;
  std::size_t bytes = 0;
};

}  // namespace

std::vector<Writes> in_transactions(Writes writes, const TransactionLimits& limits) {
  std::vector<std::pair<Rank, std::string>> order;
  for (const auto& [key, value] : writes) order.emplace_back(rank_of(key, !value), key);
  std::sort(order.begin(), order.end());
  std::vector<Unit> units;
  Rank last = Rank::epoch;
  for (const auto& [rank, key] : order) {
    // The heads go together: a rollout that has ended and the generation that it made current.
    if (units.empty() || rank != Rank::heads || last != Rank::heads) units.emplace_back();
    last = rank;
    auto node = writes.extract(key);
    units.back().bytes += key.size() + (node.mapped() ? node.mapped()->size() : 0);
    units.back().writes.push_back(std::move(node));
  }
  std::vector<Writes> out;
  std::size_t bytes = 0;
  for (Unit& unit : units) {
    if (out.empty() || bytes + unit.bytes > limits.bytes ||
        out.back().size() + unit.writes.size() > limits.writes) {
      out.emplace_back();
      bytes = 0;
    }
    bytes += unit.bytes;
    for (auto& node : unit.writes) out.back().insert(std::move(node));
  }
  return out;
}

}  // namespace consort::controller
