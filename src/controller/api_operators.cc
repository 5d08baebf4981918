// The operators' half of the API: plans, rollouts, generations, hosts, events.
#include <fmt/format.h>

#include <algorithm>

#include "access/subject.h"
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
  if (const Json* statement = reader.any("statement"))
    out.statement = TRY(plan::signed_statement_from_json(*statement, "statement"));
  out.to_be_signed = reader.boolean("sign", false);
  out.without_signature = reader.boolean("unsigned", false);
  out.by = reader.string("by", "");
  out.message = reader.string("message", "");
  TRYV(reader.finish(UnknownMembers::ignore));
  return out;
}

// Loads every manifest that the request needs, then runs `use` on the loop.
void with_request(Shell& shell, const http::Request& http_request, const http::Responder& responder,
                  std::function<void(DeployRequest)> use) {
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
                         use(std::move(request));
                       });
}

// May this operator change what this plan changes? `touched`: the services, for the audit log.
Status permit_deploy(Shell& shell, Gate& gate, const access::Known& who, const plan::Plan& plan,
                     const plan::Generation& candidate, std::string& touched) {
  const plan::Generation* base = shell.core().current();
  access::Subject subject;
  subject.services = access::services_changed(plan, base, candidate);
  for (const access::ServiceSubject& service : *subject.services)
    touched += (touched.empty() ? "" : ", ") + service.name;
  TRYV(gate.permits(who, access::Action::deploy, subject));
  if (!access::changes_shared_policy(base, candidate)) return {};
  return gate.permits(who, access::Action::change_policy, {});
}

Status permit_control(Shell& shell, Gate& gate, const access::Known& who, const std::string& id) {
  const auto it = shell.core().rollouts().find(id);
  if (it == shell.core().rollouts().end()) return {};  // which the core says better
  std::set<std::string> names;
  for (const plan::Step& step : it->second.forward.steps) names.insert(step.service);
  access::Subject subject;
  subject.services =
      access::services_named(names, shell.core().current(), shell.core().candidate_of(id));
  return gate.permits(who, access::Action::steer_rollout, subject);
}

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
       {"joined", format_instant(host.joined)},
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
  for (const auto& [key, value] : host.labels) labels[key] = value;
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

void add_rollout_routes(Gate& gate, Shell& shell) {
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
  gate.route(
      "POST", "/v1/rollouts/{id}/{verb}",
      [&shell, &gate](const http::Request& request, const http::Responder& responder,
                      const Asker& asker) {
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
        const std::string id = request.param("id");
        if (auto status = permit_control(shell, gate, asker.known, id); !status) {
          responder.send(status.error());
          return;
        }
        Output output;
        if (auto status = shell.core().control(id, what, shell.now(), output); !status) {
          responder.send(status.error());
          return;
        }
        access::AuditNote note =
            note_of(asker.known, access::Action::steer_rollout, "rollout " + id, shell.now());
        note.after = verb;
        shell.carry_out(std::move(output), std::move(note), [responder](const Status& status) {
          responder.send(status ? http::Response::json(Json::object())
                                : http::Response::error(status.error()));
        });
      });
}

// What an operator needs to sign this plan: the statement, and what it can be compared with.
void add_signing(const Core& core, const DeployRequest& request, const plan::Plan& plan,
                 Json& answer) {
  const auto or_null = [](const plan::SignedStatement* statement) {
    return statement == nullptr ? Json() : plan::signed_statement_to_json(*statement);
  };
  const auto then = core.generations().find(request.candidate.rollback_of);
  answer["statement"] = plan::statement_to_json(core.statement_for(request, plan));
  answer["statementBefore"] = or_null(core.statement_in_force());
  answer["statementThen"] =
      or_null(then == core.generations().end() ? nullptr : core.statement(then->second.statement));
}

void add_plan_routes(Gate& gate, Shell& shell) {
  gate.route("POST", "/v1/plan",
             [&shell](const http::Request& request, const http::Responder& responder) {
               with_request(shell, request, responder,
                            [&shell, responder](const DeployRequest& deploy) {
                              const auto plan = shell.core().plan(deploy);
                              if (!plan) {
                                responder.send(plan.error());
                                return;
                              }
                              Json answer = plan::plan_to_json(*plan);
                              if (deploy.to_be_signed)
                                add_signing(shell.core(), deploy, *plan, answer);
                              responder.send(http::Response::json(answer));
                            });
             },
             {kPlanBytes});
  gate.route(
      "POST", "/v1/deploy",
      [&shell, &gate](const http::Request& request, const http::Responder& responder,
                      const Asker& asker) {
        with_request(
            shell, request, responder,
            [&shell, &gate, responder, who = asker.known](DeployRequest deploy) {
              std::string touched;
              deploy.permit = [&](const plan::Plan& plan, const plan::Generation& candidate) {
                return permit_deploy(shell, gate, who, plan, candidate, touched);
              };
              // Nobody deploys in another's name; on loopback without TLS it is what the client
              // says.
              if (who.principal.kind != access::Principal::Kind::local)
                deploy.by = who.principal.name;
              Output output;
              const auto id = shell.core().deploy(deploy, shell.now(), output);
              if (!id) {
                responder.send(id.error());
                return;
              }
              std::optional<access::AuditNote> note;
              if (!id->empty()) {
                note = note_of(who,
                               deploy.candidate.rollback_of != 0 ? access::Action::roll_back
                                                                 : access::Action::deploy,
                               touched, shell.now());
                note->before = shell.core().current() == nullptr
                                   ? ""
                                   : fmt::format("generation {}", shell.core().current()->number);
                note->after = "rollout " + *id;
                note->reason = deploy.message;
              }
              shell.carry_out(
                  std::move(output), std::move(note), [responder, id = *id](const Status& status) {
                    responder.send(status ? http::Response::json(Json::object(
                                                {{"rollout", id.empty() ? Json() : Json(id)}}))
                                          : http::Response::error(status.error()));
                  });
            });
      },
      {kPlanBytes});
  gate.route("GET", "/v1/rollback",
             [&shell](const http::Request& request, const http::Responder& responder) {
               const std::string to = request.query_value("to").value_or("0");
               if (to.empty() || to.size() > 12 ||
                   to.find_first_not_of("0123456789") != std::string::npos) {
                 responder.send(Error(fail(
                     ErrorCode::invalid_input,
                     fmt::format("'{}' is not the number of a generation", to.substr(0, 40)))));
                 return;
               }
               const auto candidate = shell.core().rollback_candidate(std::stoull(to));
               responder.send(candidate ? http::Response::json(plan::generation_to_json(*candidate))
                                        : http::Response::error(candidate.error()));
             });
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
        const Status removed = shell.core().remove_host(name, shell.now(), output);
        // It may never have come further than to the door.
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
  // The registry: hosts that have joined, by label selector over their facts.
  gate.route(
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
  add_plan_routes(gate, shell);
  add_rollout_routes(gate, shell);
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
