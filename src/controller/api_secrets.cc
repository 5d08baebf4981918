// Secrets: the controller keeps sealed texts and says who may have them (ADR 0012).
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <set>
#include <utility>

#include "access/subject.h"
#include "base/json_reader.h"
#include "base/text.h"
#include "controller/renewal_limit.h"
#include "controller/shell.h"
#include "crypto/seal.h"

namespace consort::controller {
namespace {

constexpr std::size_t kSecretBytes = crypto::kSealedLimit + (2U << 20U);

// Without certificates a host is whoever says its name.
Status check_protected(const Gate& gate) {
  if (gate.protection() == Protection::tls) return {};
  return fail(ErrorCode::unsupported, "this controller runs with --insecure: it keeps no secrets")
      .hint("set up one with TLS: consort controller init");
}

std::vector<access::ServiceSubject> subjects(const Shell& shell,
                                             const std::set<std::string>& services) {
  return access::services_named(services, shell.core().current(), shell.core().current());
}

Json summary_of(const access::Registry& registry, const access::SecretRecord& record) {
  const access::SecretVersion& newest = record.versions.back();
  Json::Array kept;
  for (const access::SecretVersion& version : record.versions) kept.emplace_back(version.number);
  return Json::object({{"name", record.name},
                       {"version", newest.number},
                       {"kept", kept},
                       {"services", Json::array_of(record.services)},
                       {"hosts", Json::array_of(access::readers_of(registry, newest))},
                       {"recovery", Json::array_of(newest.recovery)},
                       {"by", newest.by},
                       {"at", format_instant(newest.at)}});
}

// Nothing is sealed for them, whatever key they have told.
Json revoked_hosts(const Shell& shell) {
  Json::Array out;
  for (const auto& [host, identity] : shell.registry().hosts) {
    if (identity.state == access::HostState::revoked) out.emplace_back(host);
  }
  return out;
}

Json list_record(const Shell& shell) {
  Json::Array out;
  for (const auto& [name, record] : shell.registry().secrets) {
    if (!record.versions.empty()) out.push_back(summary_of(shell.registry(), record));
  }
  return Json::object({{"secrets", out}, {"revoked", revoked_hosts(shell)}});
}

// What is needed to seal the next version.
Json sealing_record(const Gate& gate, const Shell& shell, const std::string& name) {
  Json hosts = Json::object();
  for (const auto& [host, identity] : shell.registry().hosts) {
    if (identity.state == access::HostState::approved && !identity.seal_key.empty())
      hosts[host] = identity.seal_key;
  }
  const plan::Generation* current = shell.core().current();
  const auto it = shell.registry().secrets.find(name);
  const bool there = it != shell.registry().secrets.end() && !it->second.versions.empty();
  return Json::object(
      {{"name", name},
       {"partition", gate.partition()},
       {"site", current != nullptr ? Json(current->site) : Json()},
       {"last", it == shell.registry().secrets.end() ? std::uint64_t{0} : it->second.last},
       {"next", access::next_version(shell.registry(), name, shell.core().secrets_above())},
       {"secret", there ? summary_of(shell.registry(), it->second) : Json()},
       {"hosts", hosts},
       {"revoked", revoked_hosts(shell)}});
}

using Handler = std::function<Status(const http::Request&, const http::Responder&, const Asker&)>;

void add(Gate& gate, Shell& shell, std::string_view method, std::string_view pattern,
         Handler handler) {
  gate.route(
      method, pattern,
      [&gate, &shell, handler = std::move(handler)](
          const http::Request& request, const http::Responder& responder, const Asker& asker) {
        Status status = check_protected(gate);
        if (status) status = shell.writable();
        if (status) status = handler(request, responder, asker);
        if (!status) responder.send(status.error());
      },
      {kSecretBytes});
}

Status permitted(Gate& gate, const Shell& shell, const access::Known& who, access::Action action,
                 const std::string& name, std::set<std::string> services) {
  const auto it = shell.registry().secrets.find(name);
  // One that was removed is nobody's any more: its record only keeps numbers from being used again.
  if (it != shell.registry().secrets.end() && !it->second.versions.empty())
    services.insert(it->second.services.begin(), it->second.services.end());
  access::Subject subject;
  subject.name = "secret " + name;
  subject.services = subjects(shell, services);
  return gate.permits(who, action, std::move(subject));
}

void change(Shell& shell, const http::Responder& responder, access::Writes writes,
            access::AuditNote note, Json answer) {
  shell.change_access(std::move(writes), std::move(note),
                      [responder, answer = std::move(answer)](const Status& status) {
                        responder.send(status ? http::Response::json(answer)
                                              : http::Response::error(status.error()));
                      });
}

Status put(Gate& gate, Shell& shell, access::Action action, const http::Request& request,
           const http::Responder& responder, const Asker& asker) {
  const access::SealedSecret secret = TRY(access::sealed_secret_from_json(TRY(request.json())));
  if (secret.name != request.param("name"))
    return fail(ErrorCode::invalid_input, "name: not the secret of the address");
  const auto before = shell.registry().secrets.find(secret.name);
  const std::uint64_t last = before == shell.registry().secrets.end() ? 0 : before->second.last;
  if (action == access::Action::rotate_secret)
    static_cast<void>(TRY(access::find_secret(shell.registry(), secret.name)));
  TRYV(permitted(gate, shell, asker.known, action, secret.name,
                 {secret.services.begin(), secret.services.end()}));
  auto writes = TRY(access::put_secret(shell.registry(), secret, shell.core().secrets_above(),
                                       access::principal_text(asker.known.principal), shell.now()));
  access::AuditNote note = note_of(asker.known, action, "secret " + secret.name, shell.now());
  note.before = last == 0 ? "" : fmt::format("version {}", last);
  note.after = fmt::format("version {}{} for {} host{}", secret.version,
                           secret.version == last ? " sealed anew" : "", secret.hosts.size(),
                           secret.hosts.size() == 1 ? "" : "s");
  change(shell, responder, std::move(writes), std::move(note),
         Json::object({{"name", secret.name}, {"version", secret.version}}));
  return {};
}

constexpr std::size_t kHostsShown = 5;

// "shop on web1, web2 of host class web"
std::string user_text(const Shell& shell, const std::string& service,
                      const std::set<std::string>& hosts) {
  const plan::ServiceRecord* record = plan::find_service(shell.core().current(), service);
  std::vector<std::string> shown(hosts.begin(), hosts.end());
  shown.resize(std::min(shown.size(), kHostsShown));
  return fmt::format(
      "{} on {}{}{}", service, join(shown, ", "),
      hosts.size() > kHostsShown ? fmt::format(" and {} more", hosts.size() - kHostsShown) : "",
      record == nullptr ? "" : " of host class " + record->host_class);
}

// Whoever uses it would fail at its next change, and nothing could be deployed or seal it anew.
Status check_unused(const Shell& shell, const std::string& name,
                    const std::map<Digest, plan::Manifest>& manifests) {
  std::set<Digest> with_it;
  for (const auto& [digest, manifest] : manifests) {
    if (manifest.secrets.contains(name)) with_it.insert(digest);
  }
  const auto users = shell.core().users_of(with_it);
  if (users.empty()) return {};
  std::vector<std::string> texts;
  bool wanted = false;
  for (const auto& [service, hosts] : users) {
    texts.push_back(user_text(shell, service, hosts));
    wanted = wanted || shell.core().wants_one_of(service, with_it);
  }
  return fail(ErrorCode::conflict,
              fmt::format("the secret '{}' is in use by {}", name, join(texts, "; ")))
      .hint(wanted ? fmt::format("take ${{secret.{}}} out of the site and deploy first: consort "
                                 "deploy; to change the value: consort secret set {}",
                                 name, name)
                   : "the site does not use it any more, but these hosts still have what does: "
                     "bring them up to date with `consort deploy`; one that is not in the "
                     "inventory any more is left alone by that: stop its agent first, then forget "
                     "it with `consort host remove HOST`");
}

// Manifests are read while the controller goes on: one that came meanwhile was not looked at.
Status check_all_seen(const std::set<Digest>& in_use, const std::set<Digest>& seen) {
  if (std::includes(seen.begin(), seen.end(), in_use.begin(), in_use.end())) return {};
  return fail(ErrorCode::conflict, "the site was changed while its use of the secret was looked up")
      .hint("try again");
}

Status remove_unused(Gate& gate, Shell& shell, const access::Known& who, const std::string& name,
                     const std::map<Digest, plan::Manifest>& manifests,
                     const std::set<Digest>& asked_for, const http::Responder& responder) {
  TRYV(shell.writable());
  TRYV(check_all_seen(shell.core().manifests_in_use(), asked_for));
  auto writes = TRY(access::remove_secret(shell.registry(), name));
  // Asked once more: it may have been given to other services meanwhile.
  TRYV(permitted(gate, shell, who, access::Action::remove_secret, name, {}));
  TRYV(check_unused(shell, name, manifests));
  access::AuditNote note =
      note_of(who, access::Action::remove_secret, "secret " + name, shell.now());
  note.before = fmt::format("version {}", shell.registry().secrets.at(name).last);
  change(shell, responder, std::move(writes), std::move(note), Json::object({{"removed", name}}));
  return {};
}

Status remove(Gate& gate, Shell& shell, const http::Request& request,
              const http::Responder& responder, const Asker& asker) {
  const std::string name = request.param("name");
  static_cast<void>(TRY(access::find_secret(shell.registry(), name)));
  TRYV(permitted(gate, shell, asker.known, access::Action::remove_secret, name, {}));
  const std::set<Digest> in_use = shell.core().manifests_in_use();
  shell.with_manifests(shell.core().manifests_required(), in_use,
                       [&gate, &shell, responder, who = asker.known, name,
                        in_use](const Result<std::map<Digest, plan::Manifest>>& manifests) {
                         const Status status = manifests
                                                   ? remove_unused(gate, shell, who, name,
                                                                   *manifests, in_use, responder)
                                                   : Status(fail(manifests.error()));
                         if (!status) responder.send(status.error());
                       });
  return {};
}

Status give_sealed(Gate& gate, Shell& shell, const http::Request& request,
                   const http::Responder& responder, const Asker& asker) {
  const std::string name = request.param("name");
  const access::SecretRecord& record = *TRY(access::find_secret(shell.registry(), name));
  TRYV(permitted(gate, shell, asker.known, access::Action::set_secret, name, {}));
  responder.send(http::Response::json(Json::object(
      {{"name", name},
       {"partition", gate.partition()},
       {"version", record.versions.back().number},
       {"sealed", record.versions.back().sealed},
       {"signatures", access::signatures_to_json(record.versions.back().signatures)}})));
  return {};
}

// ?secret=NAME&version=N; only what was sealed for this host.
Status give_to_host(Gate& gate, Shell& shell, const http::Request& request,
                    const http::Responder& responder) {
  const std::string host = request.param("name");
  const std::string name = request.query_value("secret").value_or("");
  const std::string text = request.query_value("version").value_or("0");
  std::uint64_t number = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size())
    return fail(ErrorCode::invalid_input, "version: not a number");
  const auto it = shell.registry().secrets.find(name);
  const access::SecretVersion* version =
      it == shell.registry().secrets.end() ? nullptr : it->second.version(number);
  // Whether there is a secret that is not for this host is not for it to know.
  if (version == nullptr || !version->hosts.contains(host))
    return fail(ErrorCode::not_found,
                fmt::format("version {} of the secret '{}' is not sealed for host '{}'", number,
                            name.substr(0, 80), host))
        .hint(fmt::format("seal it for this host, too: consort secret reseal {}; of versions that "
                          "are over, only the last {} are kept",
                          name.substr(0, 80), access::kKeptSecretVersions));
  responder.send(http::Response::json(
      Json::object({{"name", name},
                    {"partition", gate.partition()},
                    {"version", number},
                    {"services", Json::array_of(version->services)},
                    {"sealed", version->sealed},
                    {"signatures", access::signatures_to_json(version->signatures)}})));
  return {};
}

// Each new key is an entry of the audit log, and makes what is being sealed for the host stale.
Status check_pace(RenewalLimit& limit, const std::string& host, Instant now) {
  const Status taken = limit.take("host " + host, now);
  if (taken) return {};
  return fail(ErrorCode::unavailable,
              fmt::format("host '{}' has told many keys in short time", host))
      .hint(taken.error().hint_text());
}

Status take_key(Shell& shell, RenewalLimit& limit, const http::Request& request,
                const http::Responder& responder, const Asker& asker) {
  const Json json = TRY(request.json());
  JsonReader reader(json, "");
  const std::string key = reader.string("key");
  TRYV(reader.finish(UnknownMembers::ignore));
  const std::string host = request.param("name");
  auto writes = TRY(access::tell_seal_key(shell.registry(), host, key));
  const Json answer = Json::object({{"key", key}});
  if (writes.empty()) {
    responder.send(http::Response::json(answer));
    return {};
  }
  TRYV(check_pace(limit, host, shell.now()));
  access::AuditNote note = note_of(asker.known, access::Action::tell_seal_key, host, shell.now());
  note.before = shell.registry().hosts.at(host).seal_key;
  note.after = key;
  change(shell, responder, std::move(writes), std::move(note), answer);
  return {};
}

}  // namespace

void add_secret_routes(Gate& gate, Shell& shell) {
  using access::Action;
  add(gate, shell, "GET", "/v1/secrets",
      [&shell](const http::Request&, const http::Responder& responder, const Asker&) -> Status {
        responder.send(http::Response::json(list_record(shell)));
        return {};
      });
  add(gate, shell, "GET", "/v1/secrets/{name}",
      [&gate, &shell](const http::Request& request, const http::Responder& responder,
                      const Asker&) -> Status {
        responder.send(http::Response::json(sealing_record(gate, shell, request.param("name"))));
        return {};
      });
  const auto putting = [&gate, &shell](Action action) {
    return [&gate, &shell, action](const http::Request& request, const http::Responder& responder,
                                   const Asker& asker) {
      return put(gate, shell, action, request, responder, asker);
    };
  };
  add(gate, shell, "PUT", "/v1/secrets/{name}", putting(Action::set_secret));
  add(gate, shell, "POST", "/v1/secrets/{name}/rotate", putting(Action::rotate_secret));
  add(gate, shell, "GET", "/v1/secrets/{name}/sealed",
      [&gate, &shell](const http::Request& request, const http::Responder& responder,
                      const Asker& asker) {
        return give_sealed(gate, shell, request, responder, asker);
      });
  add(gate, shell, "DELETE", "/v1/secrets/{name}",
      [&gate, &shell](const http::Request& request, const http::Responder& responder,
                      const Asker& asker) {
        return remove(gate, shell, request, responder, asker);
      });
  add(gate, shell, "GET", "/v1/agents/{name}/secrets",
      [&gate, &shell](const http::Request& request, const http::Responder& responder,
                      const Asker&) { return give_to_host(gate, shell, request, responder); });
  add(gate, shell, "PUT", "/v1/agents/{name}/key",
      [&shell, limit = std::make_shared<RenewalLimit>()](
          const http::Request& request, const http::Responder& responder, const Asker& asker) {
        return take_key(shell, *limit, request, responder, asker);
      });
}

}  // namespace consort::controller
