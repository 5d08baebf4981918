#include "controller/init.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string_view>

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

// Of a store that is there. An empty file is what is left of one: none is written before its
// authority.
enum class StoreKnows : std::uint8_t { absent, nobody, somebody };

Result<StoreKnows> look_into_store(const fs::path& file, const Clock& clock) {
  std::error_code ec;
  const auto size = fs::file_size(file, ec);
  if (ec || size == 0) return StoreKnows::absent;
  const auto store = TRY(state::open_sqlite_store(file, clock));
  const access::Registry registry = TRY(registry_in(*store, file));
  return registry.operators.empty() && registry.hosts.empty() ? StoreKnows::nobody
                                                              : StoreKnows::somebody;
}

// What else is in there might need its mode: a folder of its own can be closed.
bool is_own_folder(const fs::path& data) {
  constexpr std::array<std::string_view, 4> kOwn = {"authority", "objects", "state.sqlite",
                                                    "lost+found"};
  std::error_code ec;
  for (fs::directory_iterator it(data, ec), end; !ec && it != end; it.increment(ec)) {
    const std::string name = it->path().filename().string();
    if (std::find(kOwn.begin(), kOwn.end(), name) == kOwn.end() &&
        !name.starts_with("state.sqlite"))
      return false;
  }
  return !ec;
}

Status make_closed_folder(const fs::path& data) {
  TRYV(make_folders(data, 0700));
  struct stat info {};
  if (::stat(data.c_str(), &info) != 0)
    return fail_errno(errno, fmt::format("cannot look at {}", data.string()));
  if ((info.st_mode & 077U) == 0) return {};
  if (info.st_uid == ::geteuid() && is_own_folder(data)) {
    if (::chmod(data.c_str(), 0700) == 0) return {};
    return fail_errno(errno, fmt::format("cannot set the mode of {}", data.string()));
  }
  return fail(ErrorCode::refused,
              fmt::format("{} can be read by others, and {}", data.string(),
                          info.st_uid == ::geteuid() ? "has more in it than a controller's files"
                                                     : "belongs to somebody else"))
      .hint(fmt::format("name a folder of its own: --data DIR; or close this one: chmod 700 {}",
                        data.string()));
}

Failure authority_is_there(const fs::path& data) {
  return fail(ErrorCode::conflict,
              fmt::format("{} holds an authority already", (data / "authority").string()))
      .hint(fmt::format("for a credential of an admin, also when an initialisation was cut short: "
                        "consort controller admin --data {} --url URL; a second authority would "
                        "know none of the hosts that have joined",
                        data.string()));
}

}  // namespace

Status check_initialisable(const fs::path& data, const AuthorityOptions& options,
                           const Clock& clock) {
  const AuthorityParts there = authority_parts(data);
  auto knows = look_into_store(data / "state.sqlite", clock);
  if (!knows && knows.error().code() == ErrorCode::locked && there.complete())
    return authority_is_there(data);
  if (!knows) return fail(std::move(knows).error());
  if (there.none() && *knows == StoreKnows::somebody && options.succession == Succession::first)
    return fail(ErrorCode::conflict,
                fmt::format("{} knows hosts and operators of an authority that is gone",
                            (data / "state.sqlite").string()))
        .hint(fmt::format("bring {} back from a backup; only if it is lost for good: consort "
                          "controller init --new-authority (then all hosts and operators join "
                          "anew)",
                          (data / "authority").string()));
  if (!there.none() && options.succession == Succession::replaces_lost)
    return fail(ErrorCode::conflict, fmt::format("{} is there", (data / "authority").string()))
        .hint("an authority that is to be replaced is moved away first, and kept");
  // Without a store it cannot be one that was never used.
  if (there.complete() && *knows != StoreKnows::nobody) return authority_is_there(data);
  if (there.key && !there.certificate && (there.names || *knows != StoreKnows::nobody))
    return fail(AuthorityFolder::open(data, options.unlock).error());
  if (!there.key && !there.none()) return fail(AuthorityFolder::open(data, {}).error());
  return {};
}

Result<Initialised> initialise_controller(const fs::path& data, const AuthorityOptions& options,
                                          const std::string& admin, const Clock& clock) {
  TRYV(check_initialisable(data, options, clock));
  TRYV(make_closed_folder(data));
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
