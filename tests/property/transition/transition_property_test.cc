// One transition under every kind of answer and with crashes before and after each effect, checked
// against what then really is on the host.
#include "fixtures/properties.h"
#include "transition/transition.h"

namespace consort::transition {
namespace {

using plan::InstanceState;
using plan::Manifest;
using plan::Mode;
using plan::Outcome;
using tests::draw_between;
using tests::draw_chance;

Manifest manifest(const std::string& version, std::int64_t data_version, bool once) {
  Manifest out;
  out.service = "db";
  out.version = version;
  out.data_version = data_version;
  out.daemon = Json::object({{"argv", Json::Array{"db", version}}});
  for (const std::string name :
       {"setup", "drain", "undrain", "backup", "restore", "migrate", "validate"}) {
    if (!draw_chance(80)) continue;
    out.hooks[name].argv = {name};
    out.hooks[name].idempotent = !(once && name == "migrate");
    out.hooks[name].while_running = name == "backup" && draw_chance(50);
    out.hooks[name].may_fail = name == "drain" && draw_chance(50);
  }
  return out;
}

class Host {
 public:
  Host(std::optional<Mode> before, bool fenced)
      : running_(before && *before != Mode::stopped ? "old" : ""), fenced_(fenced) {}

  // Whoever is let in writes; I6: nobody is between the snapshot and the commit.
  void users_write(const Transition& t) {
    if (running_ != "old" || fenced_) return;
    RC_ASSERT(t.walking_back || !written_at_snapshot_);
    ++written_;
  }

  // The step's effect, or half of it. Checks what must never be.
  void perform(const StepOrder& order, const Transition& t, bool dirty = false) {
    const bool once =
        std::find(t.once.begin(), t.once.end(), step_name(order.step)) != t.once.end();
    if (once) RC_ASSERT(++runs_[order.token] == 1);  // I7
    switch (order.step) {
      case Step::start:
        return begin("new");
      case Step::start_old:
        RC_ASSERT(data_ == "old");  // I5: nothing runs on data that are not its own
        return begin("old");
      case Step::stop:
      case Step::remove:
      case Step::stop_new:
        running_.clear();
        return;
      case Step::drain:
        fenced_ = true;
        return;
      case Step::undrain:
      case Step::undrain_old:
        fenced_ = false;
        return;
      case Step::backup_running:
      case Step::backup:
        RC_ASSERT(running_.empty() || fenced_);
        written_at_snapshot_ = written_;
        return;
      case Step::migrate:
      case Step::migrate_back:
      case Step::restore:
        RC_ASSERT(order.step != Step::restore || written_ == written_at_snapshot_);
        RC_ASSERT(running_.empty());  // nothing writes meanwhile
        RC_ASSERT(!t.committed);      // I6: nothing is restored after commit
        data_ = dirty ? "half" : order.step == Step::migrate ? "new" : "old";
        return;
      default:
        return;
    }
  }

  [[nodiscard]] const std::string& running() const { return running_; }
  [[nodiscard]] const std::string& data() const { return data_; }

 private:
  void begin(const std::string& version) {
    RC_ASSERT(running_.empty() || running_ == version);  // I3
    running_ = version;
  }

  std::string running_;
  bool fenced_;  // by a drain hook
  int written_ = 0;
  std::optional<int> written_at_snapshot_;
  std::string data_ = "old";
  std::map<std::string, int> runs_;
};

struct Faults {
  int fail = 0;   // percent of steps on the way forward
  int crash = 0;  // percent of steps, before or after their effect
  bool back_fails = false;
};

Transition through_the_journal(const Transition& t) {
  const auto again = transition_from_json(*parse_json(transition_to_json(t).dump()));
  RC_ASSERT(again.has_value());
  return *again;
}

StepResult answer(const Transition& t, const Faults& faults) {
  StepResult out;
  out.snapshot = "sha256:snapshot";
  const bool may_fail = !t.walking_back || faults.back_fails;
  if (may_fail && !t.committed && draw_chance(faults.fail)) {
    out.status = static_cast<StepStatus>(draw_between(1, 4));
    out.exit_status = out.status == StepStatus::dirty ? 70 : 1;
    out.message = "did not work";
  }
  return out;
}

Ended walk(Transition& t, Host& host, const Faults& faults) {
  for (int i = 0; i < 300; ++i) {
    host.users_write(t);
    const Decision decision = decide(t);
    if (const auto* end = std::get_if<Ended>(&decision)) return *end;
    const auto& order = std::get<StepOrder>(decision);
    t = through_the_journal(with_intent(std::move(t)));
    if (draw_chance(faults.crash)) {
      if (draw_chance(50)) host.perform(order, t);
      t = recover(through_the_journal(t));
      continue;
    }
    const StepResult result = answer(t, faults);
    const bool half = result.status == StepStatus::dirty ||
                      (result.status == StepStatus::killed && draw_chance(50));
    if (result.status == StepStatus::ok || half) host.perform(order, t, half);
    t = with_result(std::move(t), result);
  }
  RC_FAIL("the transition never ends");
}

// Neither a backup nor a migration of its own: data that a new version has written stay.
bool v2_has_no_way_back(const Transition& t) {
  return std::none_of(t.back.begin(), t.back.end(), [](const StepRecord& record) {
    return record.step == Step::restore || record.step == Step::migrate_back;
  });
}

RC_GTEST_PROP(TransitionProperty, I3_I5_I6_I7_HoldWhateverFailsAndWheneverItCrashes, ()) {
  const bool install = draw_chance(25);
  const bool once = draw_chance(30);
  const Manifest v1 = manifest("v1", 1, once);
  const Manifest v2 = manifest("v2", draw_chance(60) ? 2 : 1, once);
  Begin begin_with;
  begin_with.service = "db";
  begin_with.attempt = "r1/1";
  begin_with.to = InstanceState{Digest::of("v2"), Mode::running};
  begin_with.new_manifest = &v2;
  const Mode mode = draw_chance(60)   ? Mode::running
                    : draw_chance(50) ? Mode::drained
                                      : Mode::stopped;
  if (!install) {
    begin_with.from = InstanceState{Digest::of("v1"), mode};
    begin_with.old_manifest = &v1;
    begin_with.has_data = true;
  }
  begin_with.downwards = draw_chance(25);
  const Faults faults{draw_between(0, 30), draw_between(0, 20), draw_chance(20)};
  // Of a drained instance nobody knows whether its drain hook has run: it may have begun so.
  Host host(install ? std::nullopt : std::optional(mode), mode == Mode::drained && draw_chance(50));
  Transition journal = begin(begin_with);
  const Ended end = walk(journal, host, faults);
  RC_CLASSIFY(end.outcome.result == Outcome::Result::done, "done");
  RC_CLASSIFY(end.outcome.result == Outcome::Result::reverted, "reverted");
  RC_ASSERT(!end.applied || end.applied == begin_with.from || end.applied == begin_with.to ||
            end.applied->mode != Mode::running);
  if (end.outcome.result == Outcome::Result::done) {
    RC_ASSERT(end.applied == begin_with.to);
    RC_ASSERT(host.running() == "new");
  }
  if (end.outcome.result == Outcome::Result::reverted) {
    RC_ASSERT(end.applied == begin_with.from);
    RC_ASSERT(host.running() == (install || mode == Mode::stopped ? "" : "old"));
    if (!install && !v2_has_no_way_back(journal)) RC_ASSERT(host.data() == "old");
  }
  if (end.outcome.result != Outcome::Result::inconsistent) return;
  // What is owed is done before anything is started, however often that fails.
  std::optional<Transition> owed = owed_by(journal);
  for (int attempt = 2; owed && attempt < 5; ++attempt) {
    Transition mending = mend(*owed, "r" + std::to_string(attempt));
    const Ended mended = walk(mending, host, attempt == 4 ? Faults{} : faults);
    RC_ASSERT(mended.mended != (mended.outcome.result == Outcome::Result::inconsistent));
    owed = owed_by(mending);
    if (mended.mended) RC_ASSERT(!owed);
  }
  RC_ASSERT(!owed);
  RC_ASSERT(host.running().empty() || host.running() == "old");
  if (!install && !v2_has_no_way_back(journal)) RC_ASSERT(host.data() == "old");
}

}  // namespace
}  // namespace consort::transition
