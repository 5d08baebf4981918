// The operators' half of the API: plans, rollouts, generations, hosts, events.
#include <fmt/format.h>

#include <algorithm>

#include "base/json_reader.h"
#include "base/selector.h"
#include "base/text.h"
#include "controller/shell.h"

namespace consort::controller {
namespace {

constexpr std::size_t kPlanBytes = 64U << 20U;

Result<DeployRequest> request_from(const http::Request& http_request) {
  const Json json = TRY(http_request.json());
  JsonReader reader(json, "");
  DeployRequest out;
  if (const Json* generation = reader.any("generation")) {
    out.candidate = TRY(plan::generation_from_json(*generation));
  } else {
    reader.note(fail(ErrorCode::invalid_input, "generation is missing"));
  }
  for (std::string& name : reader.strings("only")) out.only.insert(std::move(name));
  for (std::string& name : reader.strings("except")) out.except.insert(std::move(name));
  out.allow_outage = reader.boolean("allowOutage", false);
  out.allow_unsafe_removal = reader.boolean("allowUnsafeRemoval", false);
  out.allow_shrink = reader.boolean("allowShrink", false);
  if (const auto expect = reader.optional_string("expect"))
    out.expect = TRY(Digest::parse(*expect));
  out.by = reader.string("by", "");
  out.message = reader.string("message", "");
  TRYV(reader.finish(UnknownMembers::ignore));
  return out;
}

// Loads every manifest that the request needs, then runs `use` on the loop.
void with_request(Shell& shell, const http::Request& http_request, const http::Responder& responder,
                  std::function<void(const DeployRequest&)> use) {
  auto request = request_from(http_request);
  const Status writable = shell.writable();
  if (!request || !writable) {
    responder.send(request ? writable.error() : request.error());
    return;
  }
  std::set<Digest> digests = shell.core().manifests_required();
  for (const auto& [name, service] : request->candidate.services) digests.insert(service.manifest);
  shell.with_manifests(std::move(digests), shell.core().manifests_in_use(),
                       [&shell, request = std::move(*request), responder, use = std::move(use)](
                           Result<std::map<Digest, plan::Manifest>> manifests) mutable {
                         if (!manifests) {
                           responder.send(manifests.error());
                           return;
                         }
                         // Meanwhile the store may have failed.
                         if (const Status status = shell.writable(); !status) {
                           responder.send(status.error());
                           return;
                         }
                         request.manifests = std::move(*manifests);
                         use(request);
                       });
}

Json host_to_json(const Core& core, const std::string& name, const HostState& host) {
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
       {"joined", format_instant(host.joined)},
       {"lastContact", host.last_contact ? Json(format_instant(*host.last_contact)) : Json()},
       {"inventory", record},
       {"report", plan::host_report_to_json(host.report)}});
}

Json rollout_summary(const rollout::Rollout& rollout) {
  std::map<std::string, int> counts;
  const rollout::Course& course = rollout.reverting ? rollout.back : rollout.forward;
  for (const rollout::StepRun& run : course.runs)
    ++counts[std::string(rollout::step_phase_name(run.phase))];
  Json phases = Json::object();
  for (const auto& [phase, count] : counts) phases[phase] = count;
  return Json::object({{"id", rollout.id},
                       {"by", rollout.by},
                       {"message", rollout.message},
                       {"started", format_instant(rollout.started)},
                       {"ended", rollout.ended ? Json(format_instant(*rollout.ended)) : Json()},
                       {"result", rollout::result_name(rollout.result)},
                       {"summary", rollout.summary},
                       {"reverting", rollout.reverting},
                       {"paused", rollout.paused},
                       {"generation", rollout.generation},
                       {"wave", course.wave},
                       {"waves", course.waves.size()},
                       {"steps", phases}});
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

Json status_json(const Core& core) {
  const plan::Generation* generation = core.current();
  Json services = Json::object();
  std::map<std::string, std::vector<std::pair<std::string, const plan::InstanceReport*>>> instances;
  for (const auto& [name, host] : core.hosts()) {
    for (const auto& [service, report] : host.report.instances) {
      if (report.applied) instances[service].emplace_back(name, &report);
    }
  }
  if (generation != nullptr) {
    for (const auto& [name, record] : generation->services) instances.try_emplace(name);
  }
  for (const auto& [service, list] : instances) {
    const auto record = generation != nullptr
                            ? generation->services.find(service)
                            : std::map<std::string, plan::ServiceRecord>::const_iterator{};
    const bool known = generation != nullptr && record != generation->services.end();
    Json::Array rows;
    std::set<std::string> seen;
    for (const auto& [host, report] : list) {
      seen.insert(host);
      rows.push_back(Json::object(
          {{"host", host},
           {"reachable", core.hosts().at(host).reachable},
           {"version", core.version_of(service, report->applied->manifest)},
           {"manifest", report->applied->manifest.str()},
           {"mode", plan::mode_name(report->applied->mode)},
           {"health", plan::health_name(report->health)},
           {"reason", report->health_reason},
           {"step", report->step},
           {"current", known && record->second.manifest == report->applied->manifest}}));
    }
    if (known) {
      for (const std::string& host : record->second.hosts) {
        if (!seen.contains(host))
          rows.push_back(Json::object(
              {{"host", host},
               {"reachable", core.hosts().contains(host) && core.hosts().at(host).reachable},
               {"manifest", nullptr},
               {"mode", "absent"},
               {"health", "unknown"},
               {"reason", "nothing is there yet"},
               {"step", ""},
               {"current", false}}));
      }
    }
    services[service] =
        Json::object({{"hostClass", known ? Json(record->second.host_class) : Json()},
                      {"version", known ? Json(record->second.version) : Json()},
                      {"purpose", known ? Json(record->second.purpose) : Json()},
                      {"access", access_json(generation, service)},
                      {"instances", rows}});
  }
  Json::Array rollouts;
  for (const auto& [id, rollout] : core.rollouts()) {
    if (rollout.result == rollout::Result::open) rollouts.push_back(rollout_summary(rollout));
  }
  Json::Array hosts;
  for (const auto& [name, host] : core.hosts())
    hosts.push_back(Json::object({{"name", name}, {"reachable", host.reachable}}));
  return Json::object(
      {{"site", generation != nullptr ? Json(generation->site) : Json()},
       {"generation", generation != nullptr ? Json(generation->number) : Json()},
       {"deployed", generation != nullptr ? Json(format_instant(generation->created)) : Json()},
       {"by", generation != nullptr ? Json(generation->by) : Json()},
       {"epoch", core.epoch()},
       {"services", services},
       {"rollouts", rollouts},
       {"hosts", hosts},
       {"budgets", budget::budgets_to_json(core.budgets())}});
}

void add_rollout_routes(http::Server& server, Shell& shell) {
  server.route("GET", "/v1/rollouts",
               [&shell](const http::Request&, const http::Responder& responder) {
                 Json::Array out;
                 for (const auto& [id, rollout] : shell.core().rollouts())
                   out.push_back(rollout_summary(rollout));
                 responder.send(http::Response::json(Json::object({{"rollouts", out}})));
               });
  server.route("GET", "/v1/rollouts/{id}",
               [&shell](const http::Request& request, const http::Responder& responder) {
                 const auto it = shell.core().rollouts().find(request.param("id"));
                 if (it == shell.core().rollouts().end()) {
                   responder.send(Error(fail(ErrorCode::not_found,
                                             fmt::format("no rollout '{}'", request.param("id")))
                                            .hint("see them with: consort history")));
                   return;
                 }
                 responder.send(http::Response::json(rollout::rollout_to_json(it->second)));
               });
  server.route(
      "POST", "/v1/rollouts/{id}/{verb}",
      [&shell](const http::Request& request, const http::Responder& responder) {
        const std::string verb = request.param("verb");
        if (verb != "pause" && verb != "resume" && verb != "abort") {
          responder.send(
              Error(fail(ErrorCode::not_found, fmt::format("a rollout cannot be '{}'", verb))
                        .hint("pause, resume or abort")));
          return;
        }
        const Core::Control what = verb == "pause"    ? Core::Control::pause
                                   : verb == "resume" ? Core::Control::resume
                                                      : Core::Control::abort;
        if (const Status status = shell.writable(); !status) {
          responder.send(status.error());
          return;
        }
        Output output;
        if (auto status = shell.core().control(request.param("id"), what, shell.now(), output);
            !status) {
          responder.send(status.error());
          return;
        }
        shell.carry_out(std::move(output), [responder](const Status& status) {
          responder.send(status ? http::Response::json(Json::object())
                                : http::Response::error(status.error()));
        });
      });
}

void add_plan_routes(http::Server& server, Shell& shell) {
  server.route("POST", "/v1/plan",
               [&shell](const http::Request& request, const http::Responder& responder) {
                 with_request(
                     shell, request, responder, [&shell, responder](const DeployRequest& deploy) {
                       const auto plan = shell.core().plan(deploy);
                       responder.send(plan ? http::Response::json(plan::plan_to_json(*plan))
                                           : http::Response::error(plan.error()));
                     });
               },
               {kPlanBytes});
  server.route(
      "POST", "/v1/deploy",
      [&shell](const http::Request& request, const http::Responder& responder) {
        with_request(shell, request, responder, [&shell, responder](const DeployRequest& deploy) {
          Output output;
          const auto id = shell.core().deploy(deploy, shell.now(), output);
          if (!id) {
            responder.send(id.error());
            return;
          }
          shell.carry_out(std::move(output), [responder, id = *id](const Status& status) {
            responder.send(status ? http::Response::json(
                                        Json::object({{"rollout", id.empty() ? Json() : Json(id)}}))
                                  : http::Response::error(status.error()));
          });
        });
      },
      {kPlanBytes});
  server.route(
      "GET", "/v1/rollback",
      [&shell](const http::Request& request, const http::Responder& responder) {
        const std::string to = request.query_value("to").value_or("0");
        if (to.empty() || to.size() > 12 ||
            to.find_first_not_of("0123456789") != std::string::npos) {
          responder.send(
              Error(fail(ErrorCode::invalid_input,
                         fmt::format("'{}' is not the number of a generation", to.substr(0, 40)))));
          return;
        }
        const auto candidate = shell.core().rollback_candidate(std::stoull(to));
        responder.send(candidate ? http::Response::json(plan::generation_to_json(*candidate))
                                 : http::Response::error(candidate.error()));
      });
}

void add_state_routes(http::Server& server, Shell& shell) {
  server.route("GET", "/v1/status",
               [&shell](const http::Request&, const http::Responder& responder) {
                 responder.send(http::Response::json(status_json(shell.core())));
               });
  server.route(
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
  server.route("GET", "/v1/generations/{number}",
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
  server.route("GET", "/v1/hosts",
               [&shell](const http::Request&, const http::Responder& responder) {
                 Json::Array out;
                 for (const auto& [name, host] : shell.core().hosts())
                   out.push_back(host_to_json(shell.core(), name, host));
                 responder.send(http::Response::json(Json::object({{"hosts", out}})));
               });
  server.route(
      "GET", "/v1/hosts/{name}",
      [&shell](const http::Request& request, const http::Responder& responder) {
        const auto it = shell.core().hosts().find(request.param("name"));
        if (it == shell.core().hosts().end()) {
          responder.send(
              Error(fail(ErrorCode::not_found, fmt::format("no host '{}'", request.param("name")))
                        .hint("see them with: consort host list")));
          return;
        }
        responder.send(http::Response::json(host_to_json(shell.core(), it->first, it->second)));
      });
  server.route(
      "DELETE", "/v1/hosts/{name}",
      [&shell](const http::Request& request, const http::Responder& responder) {
        if (const Status status = shell.writable(); !status) {
          responder.send(status.error());
          return;
        }
        Output output;
        if (auto status = shell.core().remove_host(request.param("name"), shell.now(), output);
            !status) {
          responder.send(status.error());
          return;
        }
        shell.carry_out(std::move(output), [responder](const Status& status) {
          responder.send(status ? http::Response::json(Json::object())
                                : http::Response::error(status.error()));
        });
      });
  // The registry: hosts that have joined, by label selector over their facts.
  server.route(
      "GET", "/v1/registry",
      [&shell](const http::Request& request, const http::Responder& responder) {
        const auto selector = Selector::parse(request.query_value("selector").value_or(""));
        if (!selector) {
          responder.send(selector.error());
          return;
        }
        Json::Array out;
        for (const auto& [name, host] : shell.core().hosts()) {
          const auto& facts = host.report.facts;
          const auto lookup = [&](std::string_view key) -> std::optional<std::string> {
            for (const std::string& candidate : {"label." + std::string(key), std::string(key)}) {
              if (const auto it = facts.find(candidate); it != facts.end()) return it->second;
            }
            return std::nullopt;
          };
          if (!selector->matches(lookup)) continue;
          Json labels = Json::object();
          for (const auto& [key, value] : facts) {
            if (key.starts_with("label.")) labels[key.substr(6)] = value;
          }
          const auto address = facts.find("address");
          out.push_back(Json::object({{"name", name},
                                      {"address", address == facts.end() ? name : address->second},
                                      {"labels", labels}}));
        }
        responder.send(http::Response::json(out));
      });
}

void add_event_routes(http::Server& server, Shell& shell) {
  server.route("GET", "/v1/events",
               [&shell](const http::Request& request, const http::Responder& responder) {
                 const std::string after(request.headers.get("last-event-id")
                                             .value_or(request.query_value("after").value_or("")));
                 const bool numeric = !after.empty() && after.size() < 18 &&
                                      after.find_first_not_of("0123456789") == std::string::npos;
                 const std::uint64_t newest =
                     shell.events().empty() ? 0 : shell.events().back().number;
                 shell.add_stream(responder.open_stream(), numeric ? std::stoull(after) : newest);
               });
  server.route("GET", "/v1/log",
               [&shell](const http::Request& request, const http::Responder& responder) {
                 const auto matches = [&](std::string_view key, const std::string& value) {
                   const auto wanted = request.query_value(key);
                   return !wanted || *wanted == value;
                 };
                 Json::Array out;
                 for (const Event& event : shell.events()) {
                   if (matches("host", event.host) && matches("service", event.service) &&
                       matches("rollout", event.rollout))
                     out.push_back(event_to_json(event));
                 }
                 responder.send(http::Response::json(Json::object({{"events", out}})));
               });
}

}  // namespace

void add_operator_routes(http::Server& server, Shell& shell) {
  add_plan_routes(server, shell);
  add_rollout_routes(server, shell);
  add_state_routes(server, shell);
  add_event_routes(server, shell);
}

void add_health_routes(http::Server& server, Shell& shell) {
  server.route("GET", "/healthz", [](const http::Request&, const http::Responder& responder) {
    responder.send(http::Response::text("ok\n"));
  });
  server.route("GET", "/readyz", [&shell](const http::Request&, const http::Responder& responder) {
    const Status status = shell.writable();
    responder.send(status ? http::Response::text("ok\n") : http::Response::error(status.error()));
  });
  server.route(
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
