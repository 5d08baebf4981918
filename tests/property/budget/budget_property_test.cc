// I11 over generated lives of a budget: hosts take and give back slots, fall ill and recover,
// outages take all at once.
#include "budget/budget.h"

#include "fixtures/properties.h"

namespace consort::budget {
namespace {

using tests::draw_between;
using tests::draw_chance;

const Instant kNow = from_millis(1'700'000'000'000);

// Two budgets over overlapping hosts: h0…h3 are in a, h2…h5 in b.
class Life {
 public:
  Life() {
    budgets_["a"].slots = {draw_between<std::int64_t>(0, 4), false};
    budgets_["b"].slots = {draw_between<std::int64_t>(1, 100), true};
    censuses_["a"].hosts = 4;
    censuses_["b"].hosts = 4;
  }

  void go_on() {
    const int host = draw_between(0, 5);
    const std::string name = "h" + std::to_string(host);
    const std::string reason = draw_chance(50) ? "rollout:r1" : "reboot";
    switch (draw_between(0, 5)) {
      case 0:
      case 1:
        return take(name, names_of(host), reason);
      case 2:
        release(budgets_, name, reason);
        release_joint(budgets_, name, reason);
        return;
      case 3:
        for (auto& [budget, census] : censuses_) {
          census.unhealthy.erase(name);
          census.unreachable.erase(name);
        }
        return;
      case 4:
        for (const std::string& budget : names_of(host)) {
          censuses_[budget].unhealthy.insert(name);
          if (draw_chance(30)) censuses_[budget].unreachable.insert(name);
        }
        return;
      default:
        return take_jointly(reason);
    }
  }

  void end() {
    for (const std::string reason : {"rollout:r1", "reboot"}) release_all(budgets_, reason);
    for (const auto& [name, budget] : budgets_) {
      RC_ASSERT(budget.holders.empty());
      RC_ASSERT(!budget.joint.has_value());
    }
  }

 private:
  static std::vector<std::string> names_of(int host) {
    std::vector<std::string> out;
    if (host <= 3) out.emplace_back("a");
    if (host >= 2) out.emplace_back("b");
    return out;
  }

  // Everything that is away of a budget, whoever is to blame, save the hosts of an outage: they are
  // away as declared.
  [[nodiscard]] std::set<std::string> away(const std::string& name) const {
    const Budget& budget = budgets_.at(name);
    std::set<std::string> out = censuses_.at(name).unhealthy;
    for (const auto& [host, reasons] : budget.holders) out.insert(host);
    if (budget.joint) {
      for (const std::string& host : budget.joint->hosts) out.erase(host);
    }
    return out;
  }

  void take(const std::string& host, const std::vector<std::string>& names,
            const std::string& reason) {
    const Budgets before = budgets_;
    std::map<std::string, std::set<std::string>> away_before;
    for (const std::string& name : names) away_before[name] = away(name);
    const Claim claim{host, reason, "because", draw_chance(20), draw_chance(30)};
    const Grant grant = acquire(budgets_, names, censuses_, claim, kNow);
    if (!grant.granted) {
      RC_ASSERT(!grant.why.empty());
      RC_ASSERT(budgets_to_json(budgets_) == budgets_to_json(before));
      return;
    }
    for (const std::string& name : names) {
      const Budget& budget = budgets_.at(name);
      const bool in_joint = budget.joint && budget.joint->hosts.contains(host);
      if (budget.joint) RC_ASSERT(budget.joint->reason == reason);
      if (!in_joint || !claim.in_outage) RC_ASSERT(budget.holders.contains(host));
      // Never more taken away than the slots allow, whatever is sick besides.
      const std::int64_t slots = amount_of(budget.slots, censuses_.at(name).hosts);
      RC_ASSERT(paying_holders(budget) <= slots);
      if (!claim.costs_nothing && away(name).size() > away_before[name].size())
        RC_ASSERT(static_cast<std::int64_t>(away(name).size()) <= slots);
    }
    const Budgets once = budgets_;
    RC_ASSERT(acquire(budgets_, names, censuses_, claim, kNow).granted);
    RC_ASSERT(budgets_to_json(budgets_) == budgets_to_json(once));
  }

  void take_jointly(const std::string& reason) {
    const Grant grant = acquire_jointly(budgets_, {{"h0", {"a"}}, {"h2", {"a", "b"}}}, censuses_,
                                        reason, "outage", kNow);
    if (!grant.granted) return;
    for (const auto& [name, budget] : budgets_) {
      RC_ASSERT(budget.joint.has_value());
      RC_ASSERT(budget.joint->reason == reason);
      // Nobody else held anything of it.
      for (const auto& [host, reasons] : budget.holders) {
        RC_ASSERT(reasons.size() == 1U);
        RC_ASSERT(reasons.contains(reason));
      }
    }
  }

  Budgets budgets_;
  Censuses censuses_;
};

RC_GTEST_PROP(BudgetProperty, I11_NoGrantEverTakesMoreAwayThanTheSlotsAllow, ()) {
  Life life;
  const int steps = draw_between(1, 60);
  for (int i = 0; i < steps; ++i) life.go_on();
  life.end();
}

RC_GTEST_PROP(BudgetProperty, AmountsAreReadBackAndStayInTheirRange, ()) {
  Amount amount{draw_between<std::int64_t>(0, 100), draw_chance(50)};
  RC_ASSERT(*amount_from_json(amount_to_json(amount), "x") == amount);
  const auto total = draw_between<std::int64_t>(1, 10'000);
  const std::int64_t of = amount_of(amount, total);
  RC_ASSERT(of >= (amount.value == 0 ? 0 : 1));
  if (amount.percent) RC_ASSERT(of <= total);
}

}  // namespace
}  // namespace consort::budget
