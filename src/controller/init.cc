#include "controller/init.h"

#include <fmt/format.h>

#include "access/audit.h"
#include "access/decide.h"
#include "access/registry.h"
#include "controller/audit_log.h"
#include "state/sqlite_store.h"

namespace consort::controller {
namespace {

constexpr std::string_view kWho = "whoever is on the controller's machine";

Result<access::Registry> registry_in(state::StateStore& store, const fs::path& file) {
  constexpr std::size_t kPage = 1000;
  access::Registry registry;
  std::string after;
  while (true) {
    const auto entries = TRY(store.range("access/", kPage, after));
    access::Writes page;
    for (const state::Entry& entry : entries) page.emplace(entry.key, entry.value);
    if (auto status = registry.apply(page); !status)
      return fail(std::move(status).error().context("in " + file.string()));
    if (entries.size() < kPage) return registry;
    after = entries.back().key;
  }
}

// The admin's certificate, and what the store keeps of it; an admin that is not there is made.
Result<Initialised> issue_admin(state::StateStore& store, access::Registry registry,
                                const AuthorityFolder& folder, const std::string& admin,
                                Instant now) {
  const crypto::PrivateKey key = crypto::PrivateKey::generate(crypto::KeyKind::ecdsa_p256);
  const crypto::Certificate certificate =
      TRY(folder.authority().issue({key.public_key(),
                                    {crypto::IdentityKind::operator_, folder.partition(), admin},
                                    {},
                                    kOperatorLifetime},
                                   now));
  access::Writes writes;
  const std::vector<access::Grant> grants = {{access::Role::admin}};
  // A store that outlived its authority knows its operators still; they get new certificates.
  if (!registry.operators.contains(admin)) {
    writes = TRY(access::create_operator(registry, admin, grants, std::string(kWho), now));
  } else if (registry.operators.at(admin).grants != grants) {
    writes = TRY(access::grant_operator(registry, admin, grants));
  }
  TRYV(registry.apply(writes));
  for (auto& [name, value] :
       TRY(access::add_operator_certificate(registry, admin,
                                            {certificate.serial(), key.public_key().id(),
                                             certificate.not_after(), certificate.not_after()},
                                            now)))
    writes.insert_or_assign(name, value);
  access::AuditNote note;
  note.at = now;
  note.who = kWho;
  note.action = access::action_name(access::Action::issue_credential);
  note.subject = "operator " + admin;
  note.after = "certificate " + certificate.serial() + ", admin";
  TRYV(add_audit_entry(store, std::move(note), writes));
  state::Transaction transaction;
  for (const auto& [name, value] : writes)
    transaction.writes.push_back(value ? state::Write::put(name, *value)
                                       : state::Write::erase(name));
  TRYV(store.commit(std::move(transaction)).map([](const state::CommitOutcome&) {}));
  return Initialised{folder.trust_pem(), folder.authority().certificate().fingerprint().str(),
                     admin, folder.authority().chain_pem_for(certificate),
                     std::string(key.to_pem().reveal())};
}

}  // namespace

Result<Initialised> initialise_controller(const fs::path& data, const AuthorityOptions& options,
                                          const std::string& admin, const Clock& clock) {
  TRYV(AuthorityFolder::check_absent(data));
  TRYV(make_folders(data, 0700));
  const fs::path file = data / "state.sqlite";
  const auto store = TRY(state::open_sqlite_store(file, clock));
  const Instant now = clock.now();
  auto registry = TRY(registry_in(*store, file));
  const AuthorityFolder folder = TRY(AuthorityFolder::create(data, options, now));
  return issue_admin(*store, std::move(registry), folder, admin, now);
}

Result<Initialised> recover_admin(const fs::path& data, const fs::path& unlock,
                                  const std::string& admin, const Clock& clock) {
  const AuthorityFolder folder = TRY(AuthorityFolder::open(data, unlock));
  const fs::path file = data / "state.sqlite";
  const auto store = TRY(state::open_sqlite_store(file, clock));
  return issue_admin(*store, TRY(registry_in(*store, file)), folder, admin, clock.now());
}

}  // namespace consort::controller
