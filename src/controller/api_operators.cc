// What operators may look at: status, hosts, generations, rollouts, the log, events, health.
#include <fmt/format.h>

#include <algorithm>

#include "access/subject.h"
#include "base/json_reader.h"
#include "base/selector.h"
#include "base/text.h"
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
       {"lastContact", host.last_contact ? Json(format_instant(*host.last_contact)) : Json()},
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

Json rollout_summary(const rollout::Rollout& rollout) {
  std::map<std::string, int> counts;
  const rollout::Course& course = rollout.reverting ? rollout.back : rollout.forward;
  for (const rollout::StepRun& run : course.runs)
    ++counts[std::string(rollout::step_phase_name(run.phase))];
  Json phases = Json::object();
  for (const auto& [phase, count] : counts) phases[phase] = count;
  const std::string reason = rollout::first_failure(rollout);
  return Json::object({{"id", rollout.id},
                       {"by", rollout.by},
                       {"message", rollout.message},
                       {"started", format_instant(rollout.started)},
                       {"ended", rollout.ended ? Json(format_instant(*rollout.ended)) : Json()},
                       {"result", rollout::result_name(rollout.result)},
                       {"summary", rollout.summary},
                       {"reason", reason.empty() ? Json() : Json(reason)},
                       {"reverting", rollout.reverting},
                       {"paused", rollout.paused},
                       {"generation", rollout.generation},
                       {"wave", course.wave},
                       {"waves", course.waves.size()},
                       {"phases", phases}});
}

// Who may reach what the service offers, as deployed.
Json access_json(const plan::Generation* generation, const std::string& service) {
  Json out = Json::array();
  if (generation == nullptr) return out;
  for (const plan::Reach& reach : plan::reach_of(*generation, service)) {
    out.push_back(Json::object({{"endpoint", reach.endpoint},
                                {"port", reach.port},
                                {"mode", plan::access_mode_name(reach.mode)},
                                {"dependents", Json::array_of(reach.dependents)},
                                {"from", Json::array_of(reach.who)}}));
  }
  return out;
}

Json instance_json(const Core& core, const std::string& service, const std::string& host,
                   const plan::InstanceReport& report, const plan::ServiceRecord* wanted) {
  return Json::object(
      {{"host", host},
       {"reachable", core.hosts().at(host).reachable},
       {"version", core.version_of(service, report.applied->manifest)},
       {"manifest", report.applied->manifest.str()},
       {"mode", plan::mode_name(report.applied->mode)},
       {"health", plan::health_name(report.health)},
       {"reason", report.health_reason},
       {"step", report.step},
       {"current", wanted != nullptr && wanted->manifest == report.applied->manifest}});
}

// It should run there, and no report says so.
Json absent_instance_json(const Core& core, const std::string& host) {
  return Json::object(
      {{"host", host},
       {"reachable", core.hosts().contains(host) && core.hosts().at(host).reachable},
       {"version", nullptr},
       {"manifest", nullptr},
       {"mode", "absent"},
       {"health", "unknown"},
       {"reason", "nothing is there yet"},
       {"step", ""},
       {"current", false}});
}

using InstancesOfService = std::vector<std::pair<std::string, const plan::InstanceReport*>>;

Json service_json(const Core& core, const std::string& service,
                  const InstancesOfService& instances) {
  const plan::Generation* generation = core.current();
  const plan::ServiceRecord* wanted = nullptr;
  if (generation != nullptr) {
    if (const auto it = generation->services.find(service); it != generation->services.end())
      wanted = &it->second;
  }
  Json::Array rows;
  std::set<std::string> seen;
  for (const auto& [host, report] : instances) {
    seen.insert(host);
    rows.push_back(instance_json(core, service, host, *report, wanted));
  }
  if (wanted != nullptr) {
    for (const std::string& host : wanted->hosts) {
      if (!seen.contains(host)) rows.push_back(absent_instance_json(core, host));
    }
  }
  return Json::object({{"hostClass", wanted != nullptr ? Json(wanted->host_class) : Json()},
                       {"version", wanted != nullptr ? Json(wanted->version) : Json()},
                       {"purpose", wanted != nullptr ? Json(wanted->purpose) : Json()},
                       {"access", access_json(generation, service)},
                       {"instances", rows}});
}

Json services_json(const Core& core) {
  std::map<std::string, InstancesOfService> instances;
  for (const auto& [name, host] : core.hosts()) {
    for (const auto& [service, report] : host.report.instances) {
      if (report.applied) instances[service].emplace_back(name, &report);
    }
  }
  if (const plan::Generation* generation = core.current(); generation != nullptr) {
    for (const auto& [name, record] : generation->services) instances.try_emplace(name);
  }
  Json out = Json::object();
  for (const auto& [service, list] : instances) out[service] = service_json(core, service, list);
  return out;
}

// The newest rollout that has ended, unless it is done: what an operator should know about.
Json last_failure_json(const Core& core) {
  const rollout::Rollout* newest = nullptr;
  for (const auto& [id, rollout] : core.rollouts()) {
    if (rollout.ended && (newest == nullptr || *rollout.ended > *newest->ended)) newest = &rollout;
  }
  if (newest == nullptr || newest->result == rollout::Result::done) return {};
  return rollout_summary(*newest);
}

Json status_json(const Core& core) {
  const plan::Generation* generation = core.current();
  Json::Array rollouts;
  for (const auto& [id, rollout] : core.rollouts()) {
    if (rollout.result == rollout::Result::open) rollouts.push_back(rollout_summary(rollout));
  }
  Json::Array hosts;
  for (const auto& [name, host] : core.hosts())
    hosts.push_back(Json::object(
        {{"name", name},
         {"reachable", host.reachable},
         {"untrusted", host.report.untrusted.empty() ? Json() : Json(host.report.untrusted)}}));
  return Json::object(
      {{"site", generation != nullptr ? Json(generation->site) : Json()},
       {"generation", generation != nullptr ? Json(generation->number) : Json()},
       {"deployed", generation != nullptr ? Json(format_instant(generation->created)) : Json()},
       {"by", generation != nullptr ? Json(generation->by) : Json()},
       {"epoch", core.epoch()},
       {"services", services_json(core)},
       {"rollouts", rollouts},
       {"lastFailure", last_failure_json(core)},
       {"hosts", hosts},
       {"budgets", budget::budgets_to_json(core.budgets())}});
}

void add_history_routes(Gate& gate, Shell& shell) {
  gate.route("GET", "/v1/rollouts",
             [&shell](const http::Request&, const http::Responder& responder) {
               Json::Array out;
               for (const auto& [id, rollout] : shell.core().rollouts())
                 out.push_back(rollout_summary(rollout));
               responder.send(http::Response::json(Json::object({{"rollouts", out}})));
             });
  gate.route("GET", "/v1/rollouts/{id}",
             [&shell](const http::Request& request, const http::Responder& responder) {
               const auto it = shell.core().rollouts().find(request.param("id"));
               if (it == shell.core().rollouts().end()) {
                 responder.send(Error(
                     fail(ErrorCode::not_found, fmt::format("no rollout '{}'", request.param("id")))
                         .hint("see them with: consort history")));
                 return;
               }
               responder.send(http::Response::json(rollout::rollout_to_json(it->second)));
             });
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

void add_state_routes(Gate& gate, Shell& shell) {
  gate.route("GET", "/v1/status", [&shell](const http::Request&, const http::Responder& responder) {
    responder.send(http::Response::json(status_json(shell.core())));
  });
  gate.route(
      "GET", "/v1/generations", [&shell](const http::Request&, const http::Responder& responder) {
        Json::Array out;
        for (const auto& [number, generation] : shell.core().generations()) {
          out.push_back(Json::object(
              {{"number", number},
               {"parent", generation.parent},
               {"by", generation.by},
               {"message", generation.message},
               {"created", format_instant(generation.created)},
               {"rollbackOf", generation.rollback_of},
               {"sources", generation.sources.is_none() ? Json() : Json(generation.sources.str())},
               {"current", shell.core().current() == &generation}}));
        }
        responder.send(http::Response::json(Json::object({{"generations", out}})));
      });
  gate.route("GET", "/v1/generations/{number}",
             [&shell](const http::Request& request, const http::Responder& responder) {
               const std::string text = request.param("number");
               const auto& all = shell.core().generations();
               const plan::Generation* found = nullptr;
               if (text == "current") {
                 found = shell.core().current();
               } else if (!text.empty() && text.size() < 12 &&
                          text.find_first_not_of("0123456789") == std::string::npos) {
                 const auto it = all.find(std::stoull(text));
                 found = it == all.end() ? nullptr : &it->second;
               }
               if (found == nullptr) {
                 responder.send(Error(fail(ErrorCode::not_found,
                                           fmt::format("no generation '{}'", text.substr(0, 40)))
                                          .hint("see them with: consort history")));
                 return;
               }
               responder.send(http::Response::json(plan::generation_to_json(*found)));
             });
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
        if (access) shell.change_access(*access, std::nullopt);
        access::AuditNote note =
            note_of(asker.known, access::Action::remove_host, name, shell.now());
        note.after = "removed";
        shell.carry_out(std::move(output), std::move(note), [responder](const Status& status) {
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

void add_event_routes(Gate& gate, Shell& shell) {
  gate.route(
      "GET", "/v1/events",
      [&shell](const http::Request& request, const http::Responder& responder, const Asker& asker) {
        const std::string after(request.headers.get("last-event-id")
                                    .value_or(request.query_value("after").value_or("")));
        const bool numeric = !after.empty() && after.size() < 18 &&
                             after.find_first_not_of("0123456789") == std::string::npos;
        const std::uint64_t newest = shell.events().empty() ? 0 : shell.events().rbegin()->first;
        shell.add_stream(responder.open_stream(), numeric ? std::stoull(after) : newest,
                         asker.still_believed);
      });
  gate.route("GET", "/v1/log",
             [&shell](const http::Request& request, const http::Responder& responder) {
               const auto matches = [&](std::string_view key, const std::string& value) {
                 const auto wanted = request.query_value(key);
                 return !wanted || *wanted == value;
               };
               Json::Array out;
               for (const auto& [number, event] : shell.events()) {
                 if (matches("host", event.host) && matches("service", event.service) &&
                     matches("rollout", event.rollout))
                   out.push_back(event_to_json(event));
               }
               responder.send(http::Response::json(Json::object({{"events", out}})));
             });
}

}  // namespace

void add_operator_routes(Gate& gate, Shell& shell) {
  add_history_routes(gate, shell);
  add_state_routes(gate, shell);
  add_event_routes(gate, shell);
}

void add_health_routes(Gate& gate, http::Server& server, Shell& shell) {
  gate.route("GET", "/healthz", [](const http::Request&, const http::Responder& responder) {
    responder.send(http::Response::text("ok\n"));
  });
  gate.route("GET", "/readyz", [&shell](const http::Request&, const http::Responder& responder) {
    const Status status = shell.writable();
    responder.send(status ? http::Response::text("ok\n") : http::Response::error(status.error()));
  });
  gate.route(
      "GET", "/metrics", [&shell, &server](const http::Request&, const http::Responder& responder) {
        const Core& core = shell.core();
        std::int64_t reachable = 0;
        for (const auto& [name, host] : core.hosts()) reachable += host.reachable ? 1 : 0;
        std::int64_t open = 0;
        for (const auto& [id, rollout] : core.rollouts())
          open += rollout.result == rollout::Result::open ? 1 : 0;
        std::string out;
        const auto add = [&](std::string_view name, std::string_view type, std::string_view help,
                             std::uint64_t value) {
          out += fmt::format("# HELP {0} {1}\n# TYPE {0} {2}\n{0} {3}\n", name, help, type, value);
        };
        add("consort_hosts", "gauge", "Hosts that have joined.", core.hosts().size());
        add("consort_hosts_reachable", "gauge", "Hosts that answer now.",
            static_cast<std::uint64_t>(reachable));
        add("consort_rollouts_open", "gauge", "Rollouts that are under way.",
            static_cast<std::uint64_t>(open));
        add("consort_generation", "gauge", "The current generation.",
            core.current() == nullptr ? 0 : core.current()->number);
        add("consort_epoch", "gauge", "The leader's epoch.", core.epoch());
        add("consort_reports_total", "counter", "Reports received from agents.",
            shell.metrics().reports);
        add("consort_polls_total", "counter", "Long-polls received from agents.",
            shell.metrics().polls);
        add("consort_commits_total", "counter", "Transactions given to the store.",
            shell.metrics().commits);
        add("consort_commits_failed_total", "counter", "Transactions that the store refused.",
            shell.metrics().failed_commits);
        add("consort_connections", "gauge", "Open connections.", server.connections());
        http::Response response = http::Response::text(std::move(out));
        response.headers.set("Content-Type", "text/plain; version=0.0.4; charset=utf-8");
        responder.send(std::move(response));
      });
}

}  // namespace consort::controller
