// Hosts, as operators look at them and send them away, and the inventory of those that have joined.
#include <fmt/format.h>

#include "access/registry.h"
#include "base/selector.h"
#include "controller/shell.h"

namespace consort::controller {
namespace {

Json host_to_json(const Core& core, const std::string& name, const HostState& host,
                  const Json& identity) {
  const plan::Generation* generation = core.current();
  Json record;
  if (generation != nullptr) {
    if (const auto it = generation->hosts.find(name); it != generation->hosts.end()) {
      Json labels = Json::object();
      for (const auto& [key, value] : it->second.labels) labels[key] = value;
      record = Json::object({{"address", it->second.address},
                             {"labels", labels},
                             {"classes", Json::array_of(it->second.classes)}});
    }
  }
  return Json::object(
      {{"name", name},
       {"reachable", host.reachable},
       {"joined", host.joined == Instant{} ? Json() : Json(format_instant(host.joined))},
       {"lastContact", host.heard ? Json(format_instant(*host.heard)) : Json()},
       {"inventory", record},
       {"identity", identity},
       {"report", plan::host_report_to_json(host.report)}});
}

// How it stands with a host's place in the registry; null with --insecure.
Json identity_of(const access::Registry& registry, const std::string& name) {
  const auto it = registry.hosts.find(name);
  if (it == registry.hosts.end()) return {};
  const access::HostIdentity& host = it->second;
  Json labels = Json::object();
  for (const auto& [key, value] : access::labels_of(host)) labels[key] = value;
  return Json::object(
      {{"state", access::host_state_name(host.state)},
       {"key", host.key.str()},
       {"machine", host.machine_id},
       {"address", host.address},
       {"token", host.token},
       {"labels", labels},
       {"certificate", host.certificates.empty() ? Json() : Json(host.certificates.back().serial)},
       {"expires", host.certificates.empty()
                       ? Json()
                       : Json(format_instant(host.certificates.back().expires))},
       {"decidedBy", host.decided_by.empty() ? Json() : Json(host.decided_by)},
       {"rival", host.rival ? Json::object({{"key", host.rival->key.str()},
                                            {"machine", host.rival->machine_id},
                                            {"address", host.rival->address},
                                            {"at", format_instant(host.rival->at)}})
                            : Json()}});
}

Json host_record(const Shell& shell, const std::string& name) {
  static const HostState never;
  const auto it = shell.core().hosts().find(name);
  return host_to_json(shell.core(), name, it == shell.core().hosts().end() ? never : it->second,
                      identity_of(shell.registry(), name));
}

// What an admin gave with the join token goes before what the host says of itself.
std::map<std::string, std::string> labels_of_host(const Shell& shell, const std::string& name,
                                                  const HostState& host) {
  std::map<std::string, std::string> out;
  const auto& identities = shell.registry().hosts;
  if (const auto it = identities.find(name);
      it != identities.end() && it->second.state == access::HostState::approved)
    out = access::labels_of(it->second);
  for (const auto& [key, value] : host.report.facts) {
    if (key.starts_with("label.")) out.try_emplace(key.substr(6), value);
  }
  return out;
}

// The registry: hosts that have joined, by their labels and facts.
Json inventory_of(const Shell& shell, const Selector& selector) {
  Json out = Json::array();
  for (const auto& [name, host] : shell.core().hosts()) {
    const auto& facts = host.report.facts;
    const auto labels = labels_of_host(shell, name, host);
    const auto lookup = [&](std::string_view key) -> std::optional<std::string> {
      for (const auto* values : {&labels, &facts}) {
        if (const auto it = values->find(std::string(key)); it != values->end()) return it->second;
      }
      return std::nullopt;
    };
    if (!selector.matches(lookup)) continue;
    Json labels_json = Json::object();
    for (const auto& [key, value] : labels) labels_json[key] = value;
    const auto address = facts.find("address");
    out.push_back(Json::object({{"name", name},
                                {"address", address == facts.end() ? name : address->second},
                                {"labels", labels_json}}));
  }
  return out;
}

}  // namespace

void add_host_routes(Gate& gate, Shell& shell) {
  gate.route("GET", "/v1/hosts", [&shell](const http::Request&, const http::Responder& responder) {
    Json::Array out;
    // Those that wait to be let in have never been here.
    std::set<std::string> names;
    for (const auto& [name, host] : shell.core().hosts()) names.insert(name);
    for (const auto& [name, host] : shell.registry().hosts) names.insert(name);
    for (const std::string& name : names) out.push_back(host_record(shell, name));
    responder.send(http::Response::json(Json::object({{"hosts", out}})));
  });
  gate.route("GET", "/v1/hosts/{name}",
             [&shell](const http::Request& request, const http::Responder& responder) {
               const std::string name = request.param("name");
               if (!shell.core().hosts().contains(name) && !shell.registry().hosts.contains(name)) {
                 responder.send(Error(fail(ErrorCode::not_found, fmt::format("no host '{}'", name))
                                          .hint("see them with: consort host list")));
                 return;
               }
               responder.send(http::Response::json(host_record(shell, name)));
             });
  gate.route(
      "DELETE", "/v1/hosts/{name}",
      [&shell](const http::Request& request, const http::Responder& responder, const Asker& asker) {
        if (const Status status = shell.writable(); !status) {
          responder.send(status.error());
          return;
        }
        const std::string name = request.param("name");
        Output output;
        // It may never have come further than to the door.
        const bool came_in = shell.core().hosts().contains(name);
        const Status removed = shell.core().remove_host(name, shell.now(), output);
        if (came_in && !removed) {
          responder.send(removed.error());
          return;
        }
        const auto access = access::remove_host(
            shell.registry(), name, access::principal_text(asker.known.principal), shell.now());
        if (!removed && !access) {
          responder.send(removed.error());
          return;
        }
        access::AuditNote note =
            note_of(asker.known, access::Action::remove_host, name, shell.now());
        note.after = "removed";
        shell.change_access(access ? *access : access::Writes(), std::move(output), std::move(note),
                            [responder](const Status& status) {
                              responder.send(status ? http::Response::json(Json::object())
                                                    : http::Response::error(status.error()));
                            });
      });
  gate.route("GET", "/v1/registry",
             [&shell](const http::Request& request, const http::Responder& responder) {
               const auto selector = Selector::parse(request.query_value("selector").value_or(""));
               responder.send(selector ? http::Response::json(inventory_of(shell, *selector))
                                       : http::Response::error(selector.error()));
             });
}

}  // namespace consort::controller
