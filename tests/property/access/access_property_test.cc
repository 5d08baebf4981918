// What must hold whoever asks for whatever: permissions only grow with grants, deployers stay with
// their services, viewers change nothing, hosts speak for themselves; and no edit of an audit log
// goes unseen.
#include "access/audit.h"
#include "access/decide.h"
#include "access/registry.h"
#include "crypto/random.h"
#include "fixtures/properties.h"

namespace consort::access {
namespace {

using tests::draw_between;
using tests::draw_chance;
using Least = ActionRow::Least;

const std::vector<std::string> kServices = {"shop", "shop-web", "shop-db", "bank", "mail"};
const std::vector<std::string> kPatterns = {"shop", "shop-*", "bank",   "m*",
                                            "*",    "s[h]op", "nothing"};
const std::vector<std::string> kOwners = {"team-a", "team-b", ""};
const std::vector<std::string> kNames = {"web1", "web2", "ann", ""};

template <class T>
T draw_of(const std::vector<T>& list) {
  return list[draw_between<std::size_t>(0, list.size() - 1)];
}

Grant draw_grant() {
  Grant out;
  out.role = static_cast<Role>(draw_between(0, 2));
  if (out.role != Role::deployer) return out;
  for (int i = draw_between(1, 2); i > 0; --i) {
    if (draw_chance(60))
      out.services.push_back(draw_of(kPatterns));
    else
      out.owners.push_back(draw_chance(50) ? "team-a" : "team-b");
  }
  return out;
}

std::vector<Grant> draw_grants() {
  std::vector<Grant> out;
  for (int i = draw_between(0, 3); i > 0; --i) out.push_back(draw_grant());
  return out;
}

std::optional<std::string> draw_owner() {
  return draw_chance(30) ? std::nullopt : std::optional(draw_of(kOwners));
}

Subject draw_subject() {
  Subject out;
  if (draw_chance(85)) {
    out.services.emplace();
    for (int i = draw_between(0, 3); i > 0; --i)
      out.services->push_back({draw_of(kServices), draw_owner(), draw_owner()});
  }
  out.name = draw_of(kNames);
  if (draw_chance(60)) out.in_closure = draw_chance(50);
  if (draw_chance(30)) out.partition = draw_chance(50) ? "east" : "west";
  return out;
}

Principal draw_principal(Principal::Kind kind) {
  Principal out;
  out.kind = kind;
  out.name = draw_of(kNames);
  if (draw_chance(30)) out.partition = draw_chance(50) ? "east" : "west";
  return out;
}

const ActionRow& draw_row() {
  return action_table()[draw_between<std::size_t>(0, action_table().size() - 1)];
}

bool mutates(const ActionRow& row) {
  return row.least == Least::deployer || row.least == Least::admin;
}

RC_GTEST_PROP(AccessProperty, AnotherGrantTakesNothingAway, ()) {
  const Principal who = draw_principal(Principal::Kind::operator_);
  std::vector<Grant> grants = draw_grants();
  const ActionRow& row = draw_row();
  const Subject subject = draw_subject();
  const bool before = decide(who, grants, row.action, subject).allowed;
  grants.insert(grants.begin() + draw_between<std::ptrdiff_t>(0, std::ssize(grants)), draw_grant());
  const bool after = decide(who, grants, row.action, subject).allowed;
  RC_ASSERT(!before || after);
}

RC_GTEST_PROP(AccessProperty, AGrantOfOtherServicesGivesNothing, ()) {
  const Principal who = draw_principal(Principal::Kind::operator_);
  // At least some deployer already: a first grant also lets view and send objects.
  std::vector<Grant> grants = draw_grants();
  grants.push_back({Role::deployer, {"mail"}});
  const ActionRow& row = draw_row();
  const Subject subject = draw_subject();
  const bool before = decide(who, grants, row.action, subject).allowed;
  grants.push_back({Role::deployer, {"unrelated-*"}, {"team-z"}});
  RC_ASSERT(decide(who, grants, row.action, subject).allowed == before);
}

RC_GTEST_PROP(AccessProperty, ADeployerOfSomeNeverDeploysAPlanWithAnother, ()) {
  const Principal who = draw_principal(Principal::Kind::operator_);
  const std::vector<Grant> grants = {{Role::viewer}, {Role::deployer, {"shop*"}, {"team-a"}}};
  Subject subject = draw_subject();
  if (!subject.services) subject.services.emplace();
  const std::optional<std::string> theirs =
      draw_chance(50) ? "team-b" : std::optional<std::string>();
  const ServiceSubject bank{"bank", draw_chance(50) ? std::optional<std::string>("team-a") : theirs,
                            "team-b"};
  auto& list = *subject.services;
  list.insert(list.begin() + draw_between<std::ptrdiff_t>(0, std::ssize(list)), bank);
  for (const ActionRow& row : action_table()) {
    if (row.on != ActionRow::On::services) continue;
    const Decision decision = decide(who, grants, row.action, subject);
    RC_ASSERT(!decision.allowed);
    RC_ASSERT(!decision.reason.empty());
  }
}

RC_GTEST_PROP(AccessProperty, AViewerChangesNothing, ()) {
  const Principal who = draw_principal(Principal::Kind::operator_);
  const ActionRow& row = draw_row();
  if (mutates(row)) RC_ASSERT(!decide(who, {{Role::viewer}}, row.action, draw_subject()).allowed);
}

RC_GTEST_PROP(AccessProperty, RolesIncludeEachOther, ()) {
  const Principal who = draw_principal(Principal::Kind::operator_);
  const ActionRow& row = draw_row();
  const Subject subject = draw_subject();
  const bool viewer = decide(who, {{Role::viewer}}, row.action, subject).allowed;
  const bool deployer = decide(who, {{Role::deployer, {"*"}}}, row.action, subject).allowed;
  const bool admin = decide(who, {{Role::admin}}, row.action, subject).allowed;
  RC_ASSERT(!viewer || deployer);
  RC_ASSERT(!deployer || admin);
}

RC_GTEST_PROP(AccessProperty, WhoShowsNothingGetsWhatIsForAnyone, ()) {
  const ActionRow& row = draw_row();
  const auto kind = draw_chance(50) ? Principal::Kind::anonymous : Principal::Kind::joining;
  const bool allowed =
      decide(draw_principal(kind), draw_grants(), row.action, draw_subject()).allowed;
  if (row.least != Least::anyone && row.others != ActionRow::Others::joining) RC_ASSERT(!allowed);
}

RC_GTEST_PROP(AccessProperty, AHostSpeaksForItself, ()) {
  const Principal host = draw_principal(Principal::Kind::host);
  const ActionRow& row = draw_row();
  const Subject subject = draw_subject();
  if (!decide(host, draw_grants(), row.action, subject).allowed) return;
  if (row.least == Least::anyone) return;
  RC_ASSERT(row.others == ActionRow::Others::hosts);
  if (row.on == ActionRow::On::host || row.on == ActionRow::On::self) {
    RC_ASSERT(subject.name == host.name);
    RC_ASSERT(!host.name.empty());
  }
  if (row.on == ActionRow::On::object) RC_ASSERT(subject.in_closure != std::optional(false));
  RC_ASSERT(!mutates(row));
}

RC_GTEST_PROP(AccessProperty, EveryRefusalSaysWhy, ()) {
  const auto kind = static_cast<Principal::Kind>(draw_between(0, 4));
  const Decision decision =
      decide(draw_principal(kind), draw_grants(), draw_row().action, draw_subject());
  RC_ASSERT(!decision.reason.empty());
  RC_ASSERT(decision.status().has_value() == decision.allowed);
}

std::string draw_text() {
  return *rc::gen::container<std::string>(rc::gen::inRange<char>(-127, 127));
}

std::vector<AuditEntry> draw_log() {
  std::vector<AuditEntry> out;
  AuditHead head;
  for (int i = draw_between(2, 8); i > 0; --i) {
    out.push_back(
        append(head, {from_millis(draw_between<std::int64_t>(0, 4'000'000'000'000)), draw_text(),
                      draw_text(), draw_text(), draw_text(), draw_text(), draw_text(), draw_text(),
                      static_cast<AuditNote::Outcome>(draw_between(0, 2))}));
    head = head_of(out.back());
  }
  return out;
}

void change(AuditEntry& entry) {
  switch (draw_between(0, 6)) {
    case 0:
      entry.note.at += Duration(draw_between(1, 1000));
      return;
    case 1:
      entry.note.who += "x";
      return;
    case 2:
      entry.note.reason.insert(0, "x");
      return;
    case 3:
      std::swap(entry.note.subject, entry.note.action);
      entry.note.action += "y";
      return;
    case 4:
      entry.number += 1;
      return;
    case 5:
      entry.previous = Digest::of("x");
      return;
    default:
      entry.hash = Digest::of("x");
      return;
  }
}

RC_GTEST_PROP(AuditProperty, ALogIsReadAsItWasWrittenAndHolds, ()) {
  const auto log = draw_log();
  const auto again = audit_from_lines(audit_lines(log));
  RC_ASSERT(again.has_value());
  RC_ASSERT(audit_lines(*again) == audit_lines(log));
  RC_ASSERT(!verify(*again, {}, head_of(log.back())));
}

RC_GTEST_PROP(AuditProperty, AChangedEntryIsFound, ()) {
  auto log = draw_log();
  const AuditHead head = head_of(log.back());
  const auto index = draw_between<std::size_t>(0, log.size() - 1);
  change(log[index]);
  const auto broken = verify(log, {}, head);
  RC_ASSERT(broken.has_value());
  // A hash is known to be wrong at once, and so is everything else.
  RC_ASSERT(broken->index == index);
}

RC_GTEST_PROP(AuditProperty, RemovedDoubledAndMovedEntriesAreFound, ()) {
  auto log = draw_log();
  const AuditHead head = head_of(log.back());
  const auto at = [&](std::size_t index) {
    return log.begin() + static_cast<std::ptrdiff_t>(index);
  };
  const auto index = draw_between<std::size_t>(0, log.size() - 1);
  switch (draw_between(0, 2)) {
    case 0:
      log.erase(at(index));
      break;
    case 1: {
      const AuditEntry copy = log[index];
      log.insert(at(index), copy);
      break;
    }
    default: {
      auto other = draw_between<std::size_t>(0, log.size() - 1);
      if (other == index) other = (index + 1) % log.size();
      std::swap(log[index], log[other]);
    }
  }
  RC_ASSERT(verify(log, {}, head).has_value());
}

RC_GTEST_PROP(AuditProperty, AChangedByteOfAFileIsFound, ()) {
  const auto log = draw_log();
  std::string text = audit_lines(log);
  const auto index = draw_between<std::size_t>(0, text.size() - 1);
  text[index] = static_cast<char>(text[index] ^ draw_between(1, 127));
  const auto read = audit_from_lines(text);
  if (read) RC_ASSERT(verify(*read, {}, head_of(log.back())).has_value());
}

// Whatever machines and admins do, no key gets another host's name, and no name has two keys that
// are believed, unless an admin said so.
RC_GTEST_PROP(RegistryProperty, ANameStaysWithItsKeyUntilAnAdminSaysOtherwise, ()) {
  Registry registry;
  Instant now = from_millis(1'800'000'000'000);
  const std::string secret(43, 's');
  JoinToken token;
  token.id = "token1";
  token.hash = crypto::hash_token(secret);
  token.expires = now + hours(100);
  token.uses_left = 1000;
  token.auto_approve = draw_chance(70);
  RC_ASSERT(registry.apply(create_join_token(registry, token, now).value()).has_value());
  std::map<std::string, Digest> owner;
  for (int i = draw_between(1, 25); i > 0; --i) {
    now += minutes(draw_between(0, 90));
    const std::string name = "h" + std::to_string(draw_between(0, 2));
    const Digest key = Digest::of("k" + std::to_string(draw_between(0, 3)));
    const int what = draw_between(0, 9);
    if (what < 6) {
      const auto out = join(registry,
                            {"token1", crypto::SecretText(secret), name, key,
                             "m" + std::to_string(draw_between(0, 3)), ""},
                            now);
      RC_ASSERT(out.has_value());
      RC_ASSERT(registry.apply(out->writes).has_value());
      RC_ASSERT((out->verdict == JoinOutcome::Verdict::refused) == out->refusal.has_value());
      if (out->verdict == JoinOutcome::Verdict::refused) continue;
      const auto known = owner.try_emplace(name, key).first;
      RC_ASSERT(known->second == key);
    } else if (what == 6) {
      if (const auto out = approve_host(registry, name, key, "ann", now)) {
        RC_ASSERT(registry.apply(*out).has_value());
        owner[name] = key;
      }
    } else if (what == 7) {
      if (const auto out = remove_host(registry, name, "ann", now)) {
        RC_ASSERT(registry.apply(*out).has_value());
        owner.erase(name);
      }
    } else if (what == 8) {
      if (const auto out = revoke_host(registry, name, "ann", now))
        RC_ASSERT(registry.apply(*out).has_value());
    } else {
      const auto known = owner.find(name);
      if (known == owner.end()) continue;
      const IssuedCertificate fresh{"abc" + std::to_string(i), known->second, now + hours(24),
                                    now + hours(24)};
      if (const auto out = add_host_certificate(registry, name, fresh, hours(1), now))
        RC_ASSERT(registry.apply(*out).has_value());
    }
    std::set<Digest> keys;
    for (const auto& [host, record] : registry.hosts) {
      RC_ASSERT(owner.at(host) == record.key);
      RC_ASSERT(keys.insert(record.key).second);
      for (const IssuedCertificate& certificate : record.certificates) {
        RC_ASSERT(record.state == HostState::approved);
        RC_ASSERT(!registry.revoked.contains(certificate.serial));
      }
    }
    RC_ASSERT(registry.apply(prune(registry, now)).has_value());
  }
}

}  // namespace
}  // namespace consort::access
