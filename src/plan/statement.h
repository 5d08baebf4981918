// What operators sign: which version of which service shall be on which host, in one numbered
// statement per deploy. Its head is what the signatures are over; the hosts' shares are the leaves
// of a hash tree (as RFC 9162, 2.1) whose root the head names, so that a host is sent its own share
// and a short proof, not the whole site. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/json.h"

namespace consort::plan {

// What is signed. Canonical bytes: head_bytes().
struct StatementHead {
  std::string site;
  std::string partition;
  std::uint64_t sequence = 0;     // grows with each statement
  Digest previous;                // head_digest() of the statement in force before; none: the first
  Digest root;                    // of the hosts' shares
  std::vector<std::string> held;  // services that are drained or stopped for a while; sorted
  friend bool operator==(const StatementHead&, const StatementHead&) = default;
};
[[nodiscard]] std::string head_bytes(const StatementHead& head);
[[nodiscard]] Digest head_digest(const StatementHead& head);

// One service on one host: its manifest, and the inventory's values that it uses there.
struct SharedInstance {
  Digest manifest;
  std::map<std::string, std::string> host;
  friend bool operator==(const SharedInstance&, const SharedInstance&) = default;
};
using Share = std::map<std::string, SharedInstance>;  // by service

struct StatedService {
  Digest manifest;
  std::map<std::string, std::map<std::string, std::string>> hosts;  // host → its values
  friend bool operator==(const StatedService&, const StatedService&) = default;
};

struct Statement {
  std::string site;
  std::string partition;
  std::uint64_t sequence = 0;
  Digest previous;
  std::vector<std::string> held;
  std::set<std::string> hosts;  // all of the inventory: some have no service
  std::map<std::string, StatedService> services;
  friend bool operator==(const Statement&, const Statement&) = default;
};

// So far a statement's number may be ahead of the newest that an operator's program knows: others
// have signed since, and not all of it came into force.
inline constexpr std::uint64_t kSequenceLead = 1'000'000;
// So far a controller believes a host that reports a newer statement than the store has: the store
// was restored from a backup. A host that lies moves the numbers by that with each statement, and
// must not move them out of the reach of operators' programs.
inline constexpr std::uint64_t kReportedLead = 10'000;
static_assert(kReportedLead <= kSequenceLead / 100);

using Signatures = std::map<std::string, std::string>;  // a key's text → its signature

struct SignedStatement {
  Statement statement;
  Signatures signatures;
  friend bool operator==(const SignedStatement&, const SignedStatement&) = default;
};

// From a leaf to the root: the other side of each level.
struct ProofStep {
  bool left = false;  // it is on the left
  Digest digest;
  friend bool operator==(const ProofStep&, const ProofStep&) = default;
};

// The hash tree over the shares of a statement.
class ShareTree {
 public:
  explicit ShareTree(const Statement& statement);
  [[nodiscard]] const StatementHead& head() const { return head_; }
  // What a host is given. nullopt: the statement does not name the host.
  struct Part {
    StatementHead head;
    Share share;
    std::vector<ProofStep> proof;
    friend bool operator==(const Part&, const Part&) = default;
  };
  [[nodiscard]] std::optional<Part> part(const std::string& host) const;

 private:
  StatementHead head_;
  std::map<std::string, Share> shares_;
  std::vector<std::vector<Digest>> levels_;  // leaves first
};
using HostPart = ShareTree::Part;

// Whether the share is what the head says of this host. Error forbidden.
[[nodiscard]] Status check_part(const HostPart& part, const std::string& host);

// What rides along with a target.
struct Attestation {
  HostPart current;
  std::optional<HostPart> previous;  // of the statement that current.head.previous names
  Signatures signatures;             // over current.head
  friend bool operator==(const Attestation&, const Attestation&) = default;
};

[[nodiscard]] Json statement_to_json(const Statement& statement);
[[nodiscard]] Result<Statement> statement_from_json(const Json& json, const std::string& path);
[[nodiscard]] Json signed_statement_to_json(const SignedStatement& statement);
[[nodiscard]] Result<SignedStatement> signed_statement_from_json(const Json& json,
                                                                 const std::string& path);
[[nodiscard]] Json attestation_to_json(const Attestation& attestation);
[[nodiscard]] Result<Attestation> attestation_from_json(const Json& json, const std::string& path);

}  // namespace consort::plan
