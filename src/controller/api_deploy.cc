// What operators do: plan, deploy, roll back, steer rollouts.
#include <fmt/format.h>

#include "access/kept_secrets.h"
#include "access/subject.h"
#include "base/text.h"
#include "controller/deploy_body.h"
#include "controller/shell.h"

namespace consort::controller {
namespace {

constexpr std::size_t kPlanBytes = 64U << 20U;

// Loads every manifest that the request needs, then runs `use` on the loop.
void with_request(Shell& shell, const http::Request& http_request, const http::Responder& responder,
                  std::function<void(DeployRequest)> use) {
  const auto json = http_request.json();
  auto request = json ? deploy_request_from_json(*json) : Result<DeployRequest>(fail(json.error()));
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
  // That there is none, or that it has ended, the core says better.
  if (it == shell.core().rollouts().end() || it->second.result != rollout::Result::open) return {};
  const rollout::Rollout& rollout = it->second;
  const auto base = shell.core().generations().find(rollout.plan.base);
  plan::Plan plan;
  plan.steps = rollout.forward.steps;
  plan.access = rollout.plan.access;
  access::Subject subject;
  subject.name = "rollout " + id;
  if (const plan::Generation* candidate = shell.core().candidate_of(id))
    subject.services = access::services_changed(
        plan, base == shell.core().generations().end() ? nullptr : &base->second, *candidate);
  return gate.permits(who, access::Action::steer_rollout, subject);
}

void add_steering_route(Gate& gate, Shell& shell) {
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
        if (auto status =
                shell.core().control(id, what, asker.known.principal.name, shell.now(), output);
            !status) {
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
  answer["statementBefore"] = or_null(request.new_chain ? nullptr : core.statement_in_force());
  answer["statementThen"] =
      or_null(then == core.generations().end() ? nullptr : core.statement(then->second.statement));
}

// Service → the manifest that it had before the one of the current generation.
std::map<std::string, Digest> manifests_before(const Core& core, const plan::Plan& plan) {
  std::map<std::string, Digest> out;
  const plan::Generation* current = core.current();
  if (current == nullptr) return out;
  for (const std::string& name : plan.services()) {
    const auto now = current->services.find(name);
    if (now == current->services.end()) continue;
    for (auto it = core.generations().rbegin(); it != core.generations().rend(); ++it) {
      const auto then = it->second.services.find(name);
      if (then == it->second.services.end() || then->second.manifest == now->second.manifest)
        continue;
      out.emplace(name, then->second.manifest);
      break;
    }
  }
  return out;
}

// Of a rollback: whether the values of then can still be had. A deploy has asked for the newest.
std::vector<plan::Need> secrets_gone(const Shell& shell, const DeployRequest& request,
                                     const plan::Plan& plan) {
  if (request.candidate.rollback_of == 0) return {};
  return access::secrets_out_of_reach(shell.registry(), plan, request.manifests,
                                      manifests_before(shell.core(), plan));
}

void add_plan_routes(Gate& gate, Shell& shell) {
  gate.route("POST", "/v1/plan",
             [&shell, &gate](const http::Request& request, const http::Responder& responder) {
               with_request(shell, request, responder,
                            [&shell, &gate, responder](DeployRequest deploy) {
                              deploy.partition = gate.partition();
                              auto plan = shell.core().plan(deploy);
                              if (!plan) {
                                responder.send(plan.error());
                                return;
                              }
                              for (plan::Need& need : secrets_gone(shell, deploy, *plan))
                                plan->needs.push_back(std::move(need));
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
              deploy.partition = gate.partition();
              deploy.permit = [&](const plan::Plan& plan,
                                  const plan::Generation& candidate) -> Status {
                TRYV(permit_deploy(shell, gate, who, plan, candidate, touched));
                plan::Plan wanting;
                wanting.needs = secrets_gone(shell, deploy, plan);
                return plan::check_permitted(wanting);
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

}  // namespace

void add_deploy_routes(Gate& gate, Shell& shell) {
  add_plan_routes(gate, shell);
  add_steering_route(gate, shell);
}

}  // namespace consort::controller
