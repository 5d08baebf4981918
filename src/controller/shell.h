// What the routes share: the core and how its output is carried out. Internal to this room.
// All members are touched on the loop's thread only, except where said.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "access/audit.h"
#include "access/registry.h"
#include "controller/authority.h"
#include "controller/core.h"
#include "controller/gate.h"
#include "controller/journal.h"
#include "controller/telling_limits.h"
#include "controller/workers.h"
#include "http/event_loop.h"
#include "http/event_stream.h"
#include "http/responder.h"
#include "http/server.h"
#include "objects/store.h"
#include "state/state_store.h"

namespace consort::controller {

struct Metrics {
  std::uint64_t reports = 0;
  std::uint64_t polls = 0;
  std::uint64_t commits = 0;
  std::uint64_t failed_commits = 0;
};

class Shell {
 public:
  Shell(http::EventLoop& loop, state::StateStore& store, objects::ObjectStore objects,
        const Clock& clock);

  // Loads the store and begins a new epoch. Errors: io, corrupt.
  [[nodiscard]] Status start();

  // Makes the output durable; then publishes targets and events and calls `done` with how it went.
  void carry_out(Output output, std::function<void(Status)> done = {});
  // The same, with what the audit log says of it, in one commit.
  void carry_out(Output output, std::optional<access::AuditNote> note,
                 std::function<void(Status)> done);
  // Changes who is let in. Polls and streams of those who are no more believed end.
  void change_access(access::Writes writes, std::optional<access::AuditNote> note,
                     std::function<void(Status)> done = {});
  // The same, and `output` with it, in one commit.
  void change_access(access::Writes writes, Output output, std::optional<access::AuditNote> note,
                     std::function<void(Status)> done);
  [[nodiscard]] const access::Registry& registry() const { return registry_; }
  // What an operator should know of a host that was let in: to both logs, the same once
  // (telling_limits.h).
  void tell_finding(const access::Finding& finding);
  // Entries after `after`, at most `limit`. Errors: io, corrupt.
  [[nodiscard]] Result<std::vector<access::AuditEntry>> audit(std::uint64_t after,
                                                              std::size_t limit) const;
  [[nodiscard]] const access::AuditHead& audit_head() const { return audit_head_; }
  // Null with --insecure.
  void use_authority(const AuthorityFolder* authority) { authority_ = authority; }
  [[nodiscard]] const AuthorityFolder* authority() const { return authority_; }

  // A poll that is answered when the host's target is another than (epoch, seq), or after
  // kPollHold. Precondition: writable(), and the position has been checked.
  void hold_poll(const std::string& host, std::uint64_t epoch, std::uint64_t seq,
                 const http::Responder& responder, std::function<bool()> still_believed);
  void add_stream(const http::EventStream& stream, std::uint64_t after,
                  std::function<bool()> still_believed);

  // Loads the manifests of these digests on a worker; calls back on the loop. Cached until
  // collect(). Those of `others`, which may be what hosts merely say, are left out where there is
  // no such manifest.
  void with_manifests(std::set<Digest> digests, std::set<Digest> others,
                      std::function<void(Result<std::map<Digest, plan::Manifest>>)> use);

  // Forgets the manifests that nothing has, and removes the objects that nothing stored refers to
  // and that are a day old. Once an hour by itself. Precondition: ready().
  void collect();

  [[nodiscard]] Core& core() { return *core_; }
  [[nodiscard]] const Core& core() const { return *core_; }
  [[nodiscard]] bool ready() const { return core_.has_value() && !failed_; }
  // Whether the core may be changed now. Error unavailable while its store cannot be written.
  [[nodiscard]] Status writable() const;
  [[nodiscard]] Instant now() const { return clock_.now(); }
  [[nodiscard]] const objects::ObjectStore& objects() const { return objects_; }
  [[nodiscard]] Workers& workers() { return workers_; }
  [[nodiscard]] http::EventLoop& loop() { return loop_; }
  [[nodiscard]] Metrics& metrics() { return metrics_; }
  // The last events by number, a fair share of each host.
  [[nodiscard]] const std::map<std::uint64_t, Event>& events() const { return events_; }

 private:
  struct Poll {
    std::uint64_t number;
    std::uint64_t epoch;
    std::uint64_t seq;
    http::Responder responder;
    std::function<bool()> still_believed;
  };
  struct Stream {
    http::EventStream stream;
    std::function<bool()> still_believed;
  };

  using Targets = std::map<std::string, std::optional<plan::Target>>;  // nullopt: has none any more
  void published(const Targets& targets, const std::vector<Event>& events);
  void remember(Event event);
  void answer_poll(const std::string& host);
  void schedule_tick();
  void schedule_collection();
  void start_over(const Error& error);
  void tell_unreadable(const std::map<Digest, ErrorCode>& manifests);
  void end_what_is_no_more_believed();
  // Now and every hour: what time has made useless goes.
  void prune_registry();

  http::EventLoop& loop_;
  state::StateStore& store_;
  objects::ObjectStore objects_;
  Journal journal_;
  const Clock& clock_;
  Workers workers_;
  std::optional<Core> core_;
  bool failed_ = false;  // the store refused a write: everything is read from it again
  std::uint64_t life_ = 0;
  std::map<std::string, plan::Target> targets_;  // durable ones only
  std::map<std::string, Poll> polls_;
  std::uint64_t next_poll_ = 1;
  std::vector<Stream> streams_;
  access::Registry registry_;
  access::AuditHead audit_head_;
  ToldFindings findings_;
  const AuthorityFolder* authority_ = nullptr;
  std::map<std::uint64_t, Event> events_;
  EventShares recent_{1};
  std::map<Digest, plan::Manifest> manifests_;
  std::set<Digest> unreadable_;  // that were told
  std::optional<Instant> tick_at_;
  http::Timer tick_;
  http::Timer collection_;
  http::Timer pruning_;
  Metrics metrics_;
};

// Removes the objects that neither these manifests nor the journal's values need and that are older
// than `grace_seconds`: a client may have sent them for a deploy that is yet to come.
[[nodiscard]] Result<objects::CollectReport> collect_objects(const objects::ObjectStore& store,
                                                             const std::set<Digest>& manifests,
                                                             const std::set<Digest>& values,
                                                             std::int64_t grace_seconds);

void add_agent_routes(Gate& gate, Shell& shell);
void add_object_routes(Gate& gate, Shell& shell);
void add_deploy_routes(Gate& gate, Shell& shell);
void add_operator_routes(Gate& gate, Shell& shell);
void add_host_routes(Gate& gate, Shell& shell);
void add_access_routes(Gate& gate, Shell& shell);
void add_join_routes(Gate& gate, Shell& shell);
void add_secret_routes(Gate& gate, Shell& shell);
void add_health_routes(Gate& gate, http::Server& server, Shell& shell);

}  // namespace consort::controller
