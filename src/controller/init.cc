#include "controller/init.h"

#include <fmt/format.h>

#include "access/audit.h"
#include "access/registry.h"
#include "controller/shell.h"
#include "state/sqlite_store.h"

namespace consort::controller {

Result<Initialised> initialise_controller(const fs::path& data, const AuthorityOptions& options,
                                          const std::string& admin, const Clock& clock) {
  TRYV(AuthorityFolder::check_absent(data));
  TRYV(make_folders(data, 0700));
  const auto store = TRY(state::open_sqlite_store(data / "state.sqlite", clock));
  const Instant now = clock.now();
  access::Registry registry;
  for (const state::Entry& entry : TRY(store->range("access/", 100'000, ""))) {
    if (auto status = registry.apply({{entry.key, entry.value}}); !status)
      return fail(std::move(status).error().context("in " + (data / "state.sqlite").string()));
  }
  const AuthorityFolder folder = TRY(AuthorityFolder::create(data, options, now));
  const crypto::PrivateKey key = crypto::PrivateKey::generate(crypto::KeyKind::ecdsa_p256);
  const crypto::Certificate certificate =
      TRY(folder.authority().issue({key.public_key(),
                                    {crypto::IdentityKind::operator_, folder.partition(), admin},
                                    {},
                                    kOperatorLifetime},
                                   now));
  access::Writes writes;
  // A store that outlived its authority knows its operators still; they get new certificates.
  if (!registry.operators.contains(admin)) {
    writes = TRY(access::create_operator(registry, admin, {{access::Role::admin}},
                                         "consort controller init", now));
    TRYV(registry.apply(writes));
  }
  for (auto& [name, value] :
       TRY(access::add_operator_certificate(registry, admin,
                                            {certificate.serial(), key.public_key().id(),
                                             certificate.not_after(), certificate.not_after()},
                                            now)))
    writes.insert_or_assign(name, value);
  state::Transaction transaction;
  for (const auto& [name, value] : writes)
    transaction.writes.push_back(value ? state::Write::put(name, *value)
                                       : state::Write::erase(name));
  TRYV(store->commit(std::move(transaction)).map([](const state::CommitOutcome&) {}));
  return Initialised{folder.trust_pem(), folder.authority().certificate().fingerprint().str(),
                     admin, folder.authority().chain_pem_for(certificate),
                     std::string(key.to_pem().reveal())};
}

}  // namespace consort::controller
