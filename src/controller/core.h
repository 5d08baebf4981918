// The controller's core: everything it knows and decides, without I/O, threads or a clock. The
// shell feeds it events and carries out its Output: first the writes (durable), then targets,
// events and answers. What restore() is given is all that survives a crash. Not thread-safe: one
// thread owns it.
//
// Keys in the store: epoch, current, budgets, targets/HOST, hosts/HOST, generations/N (ten digits),
// candidates/ROLLOUT, rollouts/ID (the head) with rollouts/ID/plan, rollouts/ID/back and, while it
// is open, rollouts/ID/runs/{f,b}N, afterwards one rollouts/ID/runs; first/DIGEST,
// tail/HOST/SERVICE, removed/HOST, statements/N (sixteen digits), log/N (events), secrets-above,
// access-in-doubt (the rollout that is to end the doubt, or "1"). Values may be large: the journal
// (journal.h) keeps those as objects. What is written together may be split over several
// transactions (commit_order.h).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "budget/budget.h"
#include "controller/event_shares.h"
#include "plan/generation.h"
#include "plan/plan.h"
#include "plan/statement.h"
#include "plan/target.h"
#include "rollout/rollout.h"

namespace consort::controller {

using Store = std::map<std::string, std::string>;
// Larger values are neither written (the journal refuses them) nor read.
inline constexpr std::size_t kMostValueBytes = std::size_t{256} << 20U;
// So large a rollout's plan and its candidate may be, as they are stored. What follows from them
// (the way back, how each step went, the generation) is never four times as large; a deploy is
// where it can still be refused.
inline constexpr std::size_t kMostPlanBytes = std::size_t{64} << 20U;
// Of a rollout that has ended, in bytes.
inline constexpr std::size_t kMostKeptTexts = std::size_t{8} << 20U;
// nullopt erases the key, or everything below it when it ends in '/'.
using Writes = std::map<std::string, std::optional<std::string>>;
void apply_writes(Store& store, const Writes& writes);

struct Event {
  std::uint64_t number = 0;
  Instant at{};
  std::string kind;
  std::string rollout;
  std::string service;
  std::string host;
  std::string text;
};
// Whom a rollout has left behind, and what becomes of it when it is there again.
struct Straggler {
  // stays: it ends what it was told, keeps its slot until then, and is left as it is.
  enum class Fate : std::uint8_t { converges, stays };
  std::string rollout;
  Fate fate = Fate::converges;
};
// As the store has it: "r000012", "r000012 stays".
[[nodiscard]] std::string straggler_to_text(const Straggler& straggler);
[[nodiscard]] Straggler straggler_from_text(const std::string& text);
// Why a straggler holds a slot.
[[nodiscard]] std::string tail_reason(const std::string& host, const std::string& service);
[[nodiscard]] Json event_to_json(const Event& event);
// So many events are kept, fewer when their texts are long; a fair share of each host
// (event_shares.h).
inline constexpr std::size_t kKeptEvents = 5000;
inline constexpr std::size_t kMostEventText = 8000;  // bytes
[[nodiscard]] std::string event_key(std::uint64_t number);

struct Output {
  Writes writes;
  std::set<std::string> targets;  // hosts whose target has changed, or is no more
  std::vector<Event> events;
};

struct HostState {
  plan::HostReport report;              // the last one
  std::optional<Instant> last_contact;  // not stored
  std::optional<Instant> heard;         // in this life of the leader; not stored
  bool reachable = false;               // not stored
  Instant joined{};
  // Services that were placed here, and which it has not reported gone since nothing places them:
  // what it says of others lets it in nowhere, and keeps no port of it open.
  std::set<std::string> placed;
  // What it has told this leader of the target that it holds; not stored. A report may be a little
  // older than the poll beside it, so each of them may tell once what the store does not know.
  bool polled = false;
  bool ahead_by_report = false;
  // Of its target, as the store had it, or as the host has told since; not stored.
  std::uint64_t known_epoch = 0;
  std::uint64_t known_seq = 0;
  // Of the last report, by number and time; not stored. What comes again was not acknowledged in
  // time.
  std::set<std::pair<std::int64_t, std::string>> told;
};

struct DeployRequest {
  plan::Generation candidate;
  std::map<Digest, plan::Manifest> manifests;  // of the candidate and of everything that is applied
  std::set<std::string> only;
  std::set<std::string> except;
  bool allow_outage = false;
  bool allow_unsafe_removal = false;
  bool allow_shrink = false;
  bool allow_rename = false;
  std::optional<Digest> expect;  // the plan that the operator saw; stale when it differs
  std::string by;
  std::string message;
  std::optional<plan::SignedStatement> statement{};  // as statement_for() says, signed
  bool to_be_signed = false;                         // the plan is to come with its statement
  bool new_chain = false;                            // that follows none
  std::string partition{};         // of this controller; "": of none, a statement may be for any
  bool without_signature = false;  // where there were signatures: on purpose
  // Whether who asks may do what the plan says; asked once the plan is known.
  std::function<Status(const plan::Plan&, const plan::Generation& candidate)> permit{};
  std::size_t most_bytes = kMostPlanBytes;  // of its plan, and of its candidate
};

// Whether it says of every host whom it lets in: what ends the doubt about access.
[[nodiscard]] bool says_all_of_access(const DeployRequest& request);

class Core {
 public:
  // Errors: corrupt, with the key.
  [[nodiscard]] static Result<Core> restore(const Store& store);

  // The first call of a new leader: a new epoch, open rollouts go on.
  Output start(Instant now);

  // --- agents ---
  Output on_contact(const std::string& host, Instant now);  // it is there
  // It asks for its target and says which one it holds. One that this store does not know means,
  // when the host first speaks to this leader, that the store is older than the host (restored from
  // a backup): the host keeps what it runs, rollouts that touch it end, and the epoch goes beyond.
  // Later it means nothing: check_position() refuses it.
  Output on_poll(const std::string& host, std::uint64_t epoch, std::uint64_t seq, Instant now);
  Output on_silence(const std::string& host, Instant now);  // its connection broke
  // Reports older than the last one are ignored. Its position counts as in on_poll(). What it says
  // in words is made fit to be kept and shown here (host_texts.h).
  Output on_report(plan::HostReport report, Instant now);
  [[nodiscard]] std::optional<plan::Target> target_of(const std::string& host) const;
  enum class Telling : std::uint8_t { poll, report };
  // Positions that no honest agent can have: too large, or beyond what this leader has given to a
  // host that has told it already what it holds. Error invalid_input.
  [[nodiscard]] Status check_position(const std::string& host, std::uint64_t epoch,
                                      std::uint64_t seq, Telling telling) const;

  // --- operators ---
  // With what it still needs to be allowed (Plan::needs).
  [[nodiscard]] Result<plan::Plan> plan(const DeployRequest& request) const;
  // What would have to be signed to deploy this. Of a request that has a
  // statement already, its number is kept when a plan can have given it.
  [[nodiscard]] plan::Statement statement_for(const DeployRequest& request,
                                              const plan::Plan& plan) const;
  // The signed statement that the current generation goes by; null when it was not signed.
  [[nodiscard]] const plan::SignedStatement* statement_in_force() const;
  [[nodiscard]] const plan::SignedStatement* statement(std::uint64_t sequence) const;
  // Starts a rollout and returns its id; "" when there is nothing to do. Errors: stale, locked,
  // refused.
  [[nodiscard]] Result<std::string> deploy(const DeployRequest& request, Instant now, Output& out);
  // The candidate that brings generation `number` back (0: the one before the current; the current
  // one itself: hosts that are elsewhere come back to it). The services of then on the hosts of
  // today. Errors: not_found; refused when a host class of then has no host left.
  [[nodiscard]] Result<plan::Generation> rollback_candidate(std::uint64_t number) const;
  enum class Control : std::uint8_t { pause, resume, abort };
  // `by`: whose word it is, as people know them; "": nobody can say.
  [[nodiscard]] Status control(const std::string& rollout, Control what, const std::string& by,
                               Instant now, Output& out);
  // Forgets a host that is gone for good.
  [[nodiscard]] Status remove_host(const std::string& host, Instant now, Output& out);

  // Time has passed. Call at wake() or after any change. A call long after wake() means that this
  // process (or its machine) stood still: whoever could not be heard meanwhile gets kSilence again.
  Output tick(Instant now);
  [[nodiscard]] std::optional<Instant> wake() const { return wake_; }

  // --- questions ---
  [[nodiscard]] const std::map<std::string, HostState>& hosts() const { return hosts_; }
  [[nodiscard]] const std::map<std::string, rollout::Rollout>& rollouts() const {
    return rollouts_;
  }
  [[nodiscard]] const std::map<std::uint64_t, plan::Generation>& generations() const {
    return generations_;
  }
  [[nodiscard]] const plan::Generation* current() const;
  // What an open rollout brings; null when there is no such rollout.
  [[nodiscard]] const plan::Generation* candidate_of(const std::string& rollout) const;
  // Whether all that a partial rollout has left behind is now as it wanted it.
  [[nodiscard]] bool has_caught_up(const rollout::Rollout& rollout) const;
  [[nodiscard]] const budget::Budgets& budgets() const { return budgets_; }
  [[nodiscard]] budget::Censuses censuses() const;
  [[nodiscard]] plan::Observed observed() const;
  [[nodiscard]] std::uint64_t epoch() const { return epoch_; }
  // New versions of secrets get numbers above this one: those of a life of the store that is lost
  // are on hosts, and an equal number would be taken for what is there. 0 until hosts have shown
  // that there was one.
  [[nodiscard]] std::uint64_t secrets_above() const { return secrets_above_; }
  // Every manifest that is wanted (by an open rollout, too) or applied somewhere: roots for the
  // collector.
  [[nodiscard]] std::set<Digest> manifests_in_use() const;
  // Those of the current generation. The others may come from a life of the store that is lost, or
  // from another controller: plan() and deploy() do without them.
  [[nodiscard]] std::set<Digest> manifests_required() const;
  // Service → the hosts where it is to have, or has, one of these manifests: by the current
  // generation, an open rollout, a target that its host has not answered, or the host's last
  // report. Services without hosts use nothing.
  [[nodiscard]] std::map<std::string, std::set<std::string>> users_of(
      const std::set<Digest>& manifests) const;
  // Whether the current generation or an open rollout has one of them as this service.
  [[nodiscard]] bool wants_one_of(const std::string& service,
                                  const std::set<Digest>& manifests) const;
  // The version of the service that this manifest is; "" when neither a generation nor an open
  // candidate has it.
  [[nodiscard]] std::string version_of(const std::string& service, const Digest& manifest) const;
  // All that anything stored refers to, old generations and open candidates too: what the collector
  // keeps.
  [[nodiscard]] std::set<Digest> manifests_kept() const;

 private:
  Core() = default;
  [[nodiscard]] Status check_locks(const std::set<std::string>& services) const;
  [[nodiscard]] std::set<std::string> changed_by(const plan::Plan& plan,
                                                 const plan::Generation& candidate) const;
  [[nodiscard]] const plan::Generation* started_at(std::uint64_t number) const;
  [[nodiscard]] Status check_rollback(const plan::Generation& candidate) const;
  [[nodiscard]] std::vector<plan::Need> shrinking(const DeployRequest& request) const;
  [[nodiscard]] std::optional<plan::Need> renaming(const DeployRequest& request) const;
  [[nodiscard]] std::map<std::string, std::set<std::string>> members_of_classes() const;
  [[nodiscard]] plan::Generation merged(const plan::Generation& candidate,
                                        std::uint64_t started_from,
                                        const std::set<std::string>& changed) const;
  [[nodiscard]] plan::Generation merged(const plan::Generation& candidate,
                                        const rollout::Rollout& rollout) const;
  [[nodiscard]] std::vector<plan::Need> unenforceable(const plan::Generation& wanted) const;
  // stragglers.cc
  using Tail = std::map<std::pair<std::string, std::string>, Straggler>;  // (host, service) → who
  void leave_tail(const rollout::Rollout& rollout, Instant now, Output& out);
  void leave_unanswered(const rollout::Rollout& rollout, Instant now, Output& out);
  void leave_behind(const plan::Step& step, Straggler straggler, Output& out);
  void hold_slot(const rollout::Rollout& rollout, budget::Claim claim, Instant now, Output& out);
  void hold_slots_of_the_unanswered(Instant now, Output& out);
  [[nodiscard]] bool is_at_rest(const std::string& host, const std::string& service) const;
  [[nodiscard]] bool has_answered(const std::string& host, const std::string& service,
                                  const plan::TargetEntry& entry) const;
  void converge_tail(Instant now, Output& out);
  Tail::iterator converge(Tail::iterator straggler, const plan::Generation& generation,
                          const budget::Censuses& counts, Instant now, Output& out);
  [[nodiscard]] std::int64_t steady(const std::string& service,
                                    const std::string& except_host) const;
  [[nodiscard]] bool has_what_it_needs(const plan::Generation& generation,
                                       const std::string& service) const;
  [[nodiscard]] bool can_be_done_without(const plan::Generation& generation,
                                         const std::string& service, const std::string& host) const;
  void forget_tail(const std::string& host, Output& out);
  Tail::iterator forget_straggler(Tail::iterator straggler, Output& out);
  bool meet(const std::string& name, Instant now, Output& out);
  // True if any has another size now.
  bool size_budgets();
  [[nodiscard]] bool is_waited_for(const std::string& host) const;
  void advance(Instant now, Output& out);
  void apply(rollout::Rollout& rollout, rollout::Effects effects, Instant now, Output& out);
  void conclude(rollout::Rollout& rollout, Instant now, Output& out);
  void commit(rollout::Rollout& rollout, Instant now, Output& out);
  // `statement`: the number of the one that wants it; 0: none.
  void set_target(const std::string& host, const std::string& service, plan::TargetEntry entry,
                  std::uint64_t statement, Output& out);
  [[nodiscard]] std::uint64_t next_sequence(const DeployRequest& request) const;
  [[nodiscard]] std::uint64_t statement_of_rollout(const std::string& rollout) const;
  [[nodiscard]] Status check_signing(const DeployRequest& request, const plan::Plan& plan) const;
  void keep_statement(const plan::SignedStatement& statement, Output& out);
  [[nodiscard]] Status load_statement(const std::string& value);
  [[nodiscard]] const plan::ShareTree* tree_of(std::uint64_t sequence);
  void attest(const std::string& host, std::uint64_t sequence, plan::Target& target);
  void settle_targets(const rollout::Rollout& rollout, Output& out);
  void settle_target(const std::string& host, const std::string& service, Output& out);
  [[nodiscard]] bool is_ahead(const std::string& host, std::uint64_t epoch,
                              std::uint64_t seq) const;
  void take_position(const std::string& host, std::uint64_t epoch, std::uint64_t seq,
                     Telling telling, Instant now, Output& out);
  void fall_behind(const std::string& host, Instant now, Output& out);
  void adopt(const plan::HostReport& report, Output& out);
  void raise_secrets(Output& out);
  void save_target(const std::string& host, Output& out);
  void save_budgets(Output& out) const;
  // access.cc: brings the targets' admissions up to date; returns the hosts whose have changed.
  std::set<std::string> refresh_access(Output& out);
  [[nodiscard]] std::vector<plan::StillRunning> still_running(
      const std::vector<const plan::Generation*>& in_force) const;
  [[nodiscard]] bool is_placed(const std::string& service, const std::string& host) const;
  void note_placements();
  static void believe(HostState& host);
  void note_the_gone(const std::string& host);
  void note_the_gone();
  [[nodiscard]] bool guards_ports(const std::string& host) const;
  [[nodiscard]] bool ports_are_guarded() const;
  [[nodiscard]] bool moves_access(const plan::HostReport& before,
                                  const plan::HostReport& after) const;
  void hold_for_admission(const std::string& rollout, const std::set<std::string>& hosts,
                          Instant now);
  bool waits_for_admission(const std::string& rollout, Instant now);
  void doubt_access(Output& out);
  void settle_access(const DeployRequest& request, const std::string& rollout, Instant now,
                     Output& out);
  void settle_access_at_end(const rollout::Rollout& rollout, Instant now, Output& out);
  void restore_access_doubt();
  void tell(Output& out, Event event);
  void wake_at(Instant at);
  void notice_stall(Instant now, Output& out);
  [[nodiscard]] Status load(const std::string& key, const std::string& value);
  [[nodiscard]] Status load_rollout(const std::string& rest, const std::string& value);
  void drop_unfinished();
  [[nodiscard]] bool holds_slots(const std::string& reason) const;
  void save_changes(const rollout::Rollout& rollout, const rollout::Effects& effects,
                    Output& out) const;
  void save_head(const rollout::Rollout& rollout, Output& out) const;

  std::uint64_t epoch_ = 0;
  std::uint64_t restored_epoch_ = 0;  // as the store had it
  std::uint64_t current_ = 0;
  std::uint64_t next_rollout_ = 1;
  std::uint64_t next_event_ = 1;
  EventShares kept_events_{kKeptEvents};
  std::map<std::string, HostState> hosts_;
  std::map<std::string, plan::Target> targets_;
  std::map<std::string, std::uint64_t> removed_;  // hosts → the seq of what they were told last
  std::map<std::uint64_t, plan::Generation> generations_;
  std::map<std::string, plan::Generation> candidates_;  // rollout → what it brings
  std::map<std::string, rollout::Rollout> rollouts_;
  std::map<std::uint64_t, plan::SignedStatement> statements_;
  std::map<std::uint64_t, plan::ShareTree> trees_;  // not stored: of a few statements
  std::map<Digest, std::uint64_t> first_deployed_;
  Tail tail_;
  budget::Budgets budgets_;
  std::optional<Instant> wake_;
  std::set<std::string> unheard_;         // since start()
  std::optional<Instant> patient_until_;  // after a stall: until then no host is judged
  // Rollouts that have not begun, and whose rules they wait for. Not stored: a new leader does not
  // wait. The digests are those of the targets: every report asks for them, and in a mesh a single
  // one takes long.
  struct Holdback {
    std::map<std::string, Digest> hosts;
    Instant until{};
  };
  std::map<std::string, Holdback> held_back_;
  bool guarded_ = false;  // not stored: some port is guarded
  // This store is older than its hosts: whom they admit stays until the whole site is deployed.
  bool access_in_doubt_ = false;
  std::uint64_t secrets_above_ = 0;
  std::string settling_access_;      // the open rollout that ends the doubt if it succeeds, or ""
  std::set<std::string> leftovers_;  // keys that a crash between two transactions has left behind
};

// Epochs, sequence numbers and the numbers of reports stay below this everywhere: exact in JSON.
inline constexpr std::uint64_t kNumberLimit = std::uint64_t{1} << 53U;
// What is stored while access is in doubt and no rollout is about to end that.
inline constexpr std::string_view kAccessInDoubt = "1";
// Whether a rollout that ends so makes a generation.
[[nodiscard]] constexpr bool commits(rollout::Result result) {
  return result == rollout::Result::done || result == rollout::Result::partial;
}

// Further no host is believed to be: whatever it is given from there on stays below the limit, too.
inline constexpr std::uint64_t kMostToldSeq = kNumberLimit / 2;

// So far ahead of what was restored no other leader of the same site can be.
inline constexpr std::uint64_t kEpochLead = std::uint64_t{1} << 20U;
// So many versions of one secret no life of a store gives.
inline constexpr std::uint64_t kSecretsOfALife = 1'000'000;

// A host that has not asked for so long counts as unreachable. Agents ask at least every kPollHold.
inline constexpr Duration kSilence = seconds(15);
inline constexpr Duration kPollHold = seconds(8);

}  // namespace consort::controller
