// Statements of any site: each host finds its own share in the tree, and nothing can be changed
// without the signatures noticing.
#include "fixtures/properties.h"
#include "fixtures/statements.h"
#include "signing/acceptance.h"

namespace consort::signing {
namespace {

using tests::draw_between;
using tests::draw_chance;

plan::Statement draw_statement() {
  plan::Statement out = tests::statement(draw_between<std::uint64_t>(1, 1000));
  out.hosts.clear();
  const int hosts = draw_between(1, 9);
  for (int i = 0; i < hosts; ++i) out.hosts.insert("h" + std::to_string(i));
  const int services = draw_between(0, 4);
  for (int s = 0; s < services; ++s) {
    plan::StatedService service{tests::version(std::to_string(draw_between(0, 99))), {}};
    for (const std::string& host : out.hosts) {
      if (!draw_chance(60)) continue;
      service.hosts[host];
      if (draw_chance(30)) service.hosts[host]["rack"] = std::to_string(draw_between(0, 3));
    }
    out.services.emplace("s" + std::to_string(s), std::move(service));
  }
  return out;
}

RC_GTEST_PROP(StatementProperty, EachHostFindsItsShare, ()) {
  const plan::Statement statement = draw_statement();
  const plan::ShareTree tree(statement);
  for (const std::string& host : statement.hosts) {
    const auto part = tree.part(host);
    RC_ASSERT(part.has_value());
    RC_ASSERT(plan::check_part(*part, host).has_value());
    for (const std::string& other : statement.hosts)
      RC_ASSERT(other == host || !plan::check_part(*part, other).has_value());
    for (const auto& [name, service] : statement.services)
      RC_ASSERT(service.hosts.contains(host) == part->share.contains(name));
  }
  RC_ASSERT(!tree.part("nobody").has_value());
}

RC_GTEST_PROP(StatementProperty, IsReadBack, ()) {
  const plan::SignedStatement statement{draw_statement(), {{"key", "signature"}}};
  RC_ASSERT(plan::signed_statement_from_json(plan::signed_statement_to_json(statement), "") ==
            statement);
}

// Any change of what is said gives another head, so that no signature holds for it.
RC_GTEST_PROP(StatementProperty, AnyChangeBreaksTheSignature, ()) {
  const tests::Signers signers(1, 1);
  const plan::Statement statement = draw_statement();
  const auto head = plan::ShareTree(statement).head();
  const auto signatures = signers.sign(head, 1);
  RC_ASSERT(check_signed(signers.list, head, signatures).has_value());
  plan::Statement other = statement;
  const std::string host = *other.hosts.begin();
  switch (draw_between(0, 8)) {
    case 0:
      other.site += "x";
      break;
    case 1:
      other.partition += "x";
      break;
    case 2:
      ++other.sequence;
      break;
    case 3:
      other.previous = Digest::of("x");
      break;
    case 4:
      other.held.emplace_back("s0");
      break;
    case 5:
      other.hosts.insert("another");
      break;
    case 6:
      other.services["s0"].hosts["another"];
      break;
    case 7:
      other.services["s0"] = {Digest::of("x"), {{host, {}}}};
      break;
    default:
      other.services["s0"].hosts[host]["rack"] = "x";
      break;
  }
  const auto changed = plan::ShareTree(other).head();
  RC_ASSERT(changed != head);
  RC_ASSERT(!check_signed(signers.list, changed, signatures).has_value());
}

// Whatever an attestation is made of, and whatever of it is changed on the way: a host runs nothing
// that is not in the statement.
RC_GTEST_PROP(StatementProperty, NothingRunsThatIsNotSigned, ()) {
  const tests::Signers signers(1, 1);
  const plan::Statement statement = draw_statement();
  const std::string host = *statement.hosts.begin();
  plan::Target target;
  target.seq = 1;
  target.attestation = signers.attest(statement, host);
  const std::string name = "s" + std::to_string(draw_between(0, 4));
  const plan::InstanceState wanted{
      tests::version(std::to_string(draw_between(0, 99))), plan::Mode::running, {}};
  target.instances[name] = {wanted, "a", std::nullopt};
  if (draw_chance(50)) {
    plan::HostPart& part = target.attestation->current;
    part.share[name] = {wanted.manifest, {}};
    if (draw_chance(30)) part.proof.clear();
    if (draw_chance(30)) part.head.root = Digest::of("x");
    if (draw_chance(30)) part.head.sequence += 1;
  }
  const auto service = statement.services.find(name);
  const bool stated =
      service != statement.services.end() && service->second.manifest == wanted.manifest &&
      service->second.hosts.contains(host) && service->second.hosts.at(host).empty();
  HostNow now;
  now.host = host;
  RC_ASSERT(stated || !accept(signers.list, {}, now, target).has_value());
}

}  // namespace
}  // namespace consort::signing
