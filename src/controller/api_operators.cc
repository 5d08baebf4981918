// What operators may look at: status, generations, rollouts, the log, events, health.
#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "controller/shell.h"

namespace consort::controller {
namespace {

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
    Json::Array from;
    for (const plan::AccessSource& source : reach.who)
      from.emplace_back(plan::access_source_text(source));
    out.push_back(Json::object({{"endpoint", reach.endpoint},
                                {"port", reach.port},
                                {"mode", plan::access_mode_name(reach.mode)},
                                {"dependents", Json::array_of(reach.dependents)},
                                {"from", from}}));
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
       {"current", wanted != nullptr && wanted->manifest == report.applied->manifest},
       {"placed", wanted != nullptr &&
                      std::binary_search(wanted->hosts.begin(), wanted->hosts.end(), host)}});
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
       {"current", false},
       {"placed", true}});
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
  if (core.has_caught_up(*newest)) return {};  // that a host did not answer is no news any more
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
                         .hint("see them with: consort rollout list")));
                 return;
               }
               responder.send(http::Response::json(rollout::rollout_to_json(it->second)));
             });
}

// Whose signatures they are, hosts and operators find out; here they are only kept.
Json generation_summary(const Core& core, const plan::Generation& generation) {
  Json::Array signed_by;
  const plan::SignedStatement* statement = core.statement(generation.statement);
  if (statement != nullptr) {
    for (const auto& [key, signature] : statement->signatures) signed_by.emplace_back(key);
  }
  return Json::object(
      {{"number", generation.number},
       {"parent", generation.parent},
       {"by", generation.by},
       {"message", generation.message},
       {"created", format_instant(generation.created)},
       {"rollbackOf", generation.rollback_of},
       {"sources", generation.sources.is_none() ? Json() : Json(generation.sources.str())},
       {"current", core.current() == &generation},
       {"statement", statement != nullptr ? Json(generation.statement) : Json()},
       {"signedBy", std::move(signed_by)}});
}

void add_state_routes(Gate& gate, Shell& shell) {
  gate.route("GET", "/v1/status", [&shell](const http::Request&, const http::Responder& responder) {
    responder.send(http::Response::json(status_json(shell.core())));
  });
  gate.route("GET", "/v1/generations",
             [&shell](const http::Request&, const http::Responder& responder) {
               Json::Array out;
               for (const auto& [number, generation] : shell.core().generations()) {
                 out.push_back(generation_summary(shell.core(), generation));
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
