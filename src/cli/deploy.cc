// consort plan, deploy, rollback: one pipeline with three ends.
#include <fmt/format.h>

#include <algorithm>
#include <thread>

#include "base/text.h"
#include "cli/context.h"
#include "cli/follow.h"
#include "cli/layout.h"
#include "cli/plan_view.h"
#include "cli/rows.h"
#include "cli/seen.h"
#include "cli/sign.h"
#include "cli/terminal.h"

namespace consort::cli {
namespace {

const std::vector<Option>& plan_options() {
  static const std::vector<Option> options = {
      site_option(),
      {"--only", "SERVICE", "Only these services (comma separated or repeated).", true},
      {"--except", "SERVICE", "All services but these.", true},
      {"--keep-going", "", "Leave broken services as they are and go on with the others."},
      {"--allow-outage", "", "Allow joint outages this time."},
      {"--allow-unsafe-removal", "", "Allow removing the last holder of data."},
      {"--allow-shrink", "", "Allow a host class to lose more than a tenth of its hosts."},
      {"--allow-rename", "", "Allow another site to take the place of the one that is deployed."},
  };
  return options;
}

std::vector<Option> with_plan_options(std::vector<Option> own) {
  own.insert(own.begin(), plan_options().begin(), plan_options().end());
  return own;
}

std::vector<Option> with_signing_options(std::vector<Option> own) {
  own.insert(own.end(), signing_options().begin(), signing_options().end());
  return own;
}

Json request_json(const plan::Generation& candidate, const Arguments& arguments) {
  return Json::object({{"generation", plan::generation_to_json(candidate)},
                       {"only", Json::array_of(arguments.values("--only"))},
                       {"except", Json::array_of(arguments.values("--except"))},
                       {"allowOutage", arguments.has("--allow-outage")},
                       {"allowUnsafeRemoval", arguments.has("--allow-unsafe-removal")},
                       {"allowShrink", arguments.has("--allow-shrink")},
                       {"allowRename", arguments.has("--allow-rename")},
                       {"by", operator_name()},
                       {"message", arguments.value("--message")}});
}

void tell_broken(const std::map<std::string, Error>& broken) {
  for (const auto& [name, error] : broken) {
    print_to_stderr(
        fmt::format("{} {} is left as it is\n", paint_for_stderr(Colour::yellow, "broken:"), name));
    print_error(error);
  }
}

bool confirmed(const Arguments& arguments, const plan::Plan& plan) {
  if (arguments.has("--yes") || arguments.json()) return true;
  const std::string verb = plan.backwards ? "roll back" : "deploy";
  const auto answer = ask_person(
      !plan.steps.empty()    ? fmt::format("{} now, in {} step{}? [y/N] ", verb, plan.steps.size(),
                                        plan.steps.size() == 1 ? "" : "s")
      : !plan.access.empty() ? std::string("change who may reach what now? [y/N] ")
                             : std::string("forget what has left the inventory now? [y/N] "));
  // Scripts, in which nobody can be asked, said what they want.
  return answer.value_or(true);
}

// With --wait, somebody else's lock is waited for.
Result<Json> start_rollout(http::Client& client, const Json& request, const Arguments& arguments) {
  while (true) {
    auto answer = client.send_json("POST", "/v1/deploy", request, minutes(2));
    if (answer || answer.error().code() != ErrorCode::locked || !arguments.has("--wait"))
      return answer;
    print_to_stderr(fmt::format("waiting: {}\n", answer.error().message()));
    std::this_thread::sleep_for(std::chrono::seconds(2));
  }
}

Json nothing_to_do(const plan::Plan& plan, int status) {
  return Json::object({{"rollout", nullptr},
                       {"result", "done"},
                       {"exit", status},
                       {"generation", plan.base},
                       {"summary", "nothing to do"},
                       {"reason", nullptr},
                       {"elapsed", "0s"},
                       {"steps", Json::array()},
                       {"back", Json::array()}});
}

// Who signs, when somebody does, and what: `compiled` is what the operator's own sources make.
struct Signer {
  std::optional<signing::TrustList> list;
  const plan::Generation* compiled = nullptr;
  std::uint64_t sequence = 0;                      // of what was signed
  std::map<std::string, std::uint64_t> secrets{};  // what was compiled goes by these versions
};

// What others say to add their signatures to the proposal, and then whoever proposed it.
std::string next_of_proposal(const Arguments& arguments, const std::string& file,
                             bool is_rollback) {
  std::vector<std::string> rollback;
  if (is_rollback) rollback.emplace_back("--rollback");
  return fmt::format("others add theirs: {}; then: {}",
                     command_line(key_sign_command(), {file}, arguments, rollback),
                     command_line(is_rollback ? rollback_command() : deploy_command(), {},
                                  arguments, {"--signatures", file}));
}

// Puts the signed statement into the request. False: it was only written to the file of --propose.
Result<bool> sign_request(const Json& answer, const Arguments& arguments, Signer& signer,
                          Json& request) {
  if (!signer.list) {
    request["unsigned"] = arguments.has("--unsigned");
    return true;
  }
  Proposal proposal = TRY(proposal_of(answer, *signer.list));
  if (signer.compiled == nullptr && !proposal.then)
    return fail(ErrorCode::refused,
                "that generation was deployed without signatures: nothing in it can be signed now")
        .hint("deploy it from its sources instead: consort deploy");
  const auto stay = TRY(review_proposal(arguments, proposal, *signer.list, signer.compiled));
  if (!arguments.json()) {
    if (!stay.empty()) print(fmt::format("as signed before: {}\n", join(stay, ", ")));
    const auto& held = proposal.proposed.statement.held;
    if (!held.empty()) print(fmt::format("may be stopped for a while: {}\n", join(held, ", ")));
    if (signer.compiled == nullptr && proposal.then)
      print(fmt::format("brings back statement {}\n", proposal.then->statement.sequence));
  }
  TRYV(sign_proposal(arguments, *signer.list, proposal));
  TRYV(remember_secret_versions(*signer.list, signer.secrets));
  const plan::StatementHead head = plan::ShareTree(proposal.proposed.statement).head();
  if (arguments.has("--propose")) {
    const std::string file = arguments.value("--propose");
    TRYV(write_proposal(proposal, file));
    const std::int64_t found =
        signing::signatures_of(*signer.list, head, proposal.proposed.signatures);
    print(arguments.json()
              ? Json::object({{"statement", head.sequence},
                              {"signatures", found},
                              {"needed", signer.list->needed}})
                        .dump() +
                    "\n"
              : fmt::format("{} of {} needed signatures are in {}; {}\n", found,
                            signer.list->needed, file,
                            next_of_proposal(arguments, file, signer.compiled == nullptr)));
    return false;
  }
  // Nothing was changed, so it is told as other plans that are not permitted.
  if (const auto enough = signing::check_signed(*signer.list, head, proposal.proposed.signatures);
      !enough)
    return fail(ErrorCode::refused, enough.error().message()).hint(enough.error().hint_text());
  if (proposal.before) TRYV(remember_statement(*signer.list, proposal.before->statement.sequence));
  signer.sequence = head.sequence;
  request["statement"] = plan::signed_statement_to_json(proposal.proposed);
  return true;
}

// `finish_upload` sends the objects that the plan needs, once it is known that they are needed.
Result<int> carry_out(http::Client& client, const plan::Generation& candidate,
                      const Arguments& arguments, Signer signer,
                      const std::function<Status()>& finish_upload, bool broken) {
  Json request = request_json(candidate, arguments);
  request["sign"] = signer.list.has_value();
  request["newChain"] = arguments.has("--new-chain");
  const Json answered = TRY(client.send_json("POST", "/v1/plan", request, minutes(2)));
  plan::Plan plan = TRY(plan::plan_from_json(answered));
  if (signer.list) ask_for_outage(plan, arguments, signer.compiled);
  // Also where there is nothing to do by that: what was rotated may just not have been deployed.
  if (signer.list) TRYV(check_secret_versions(*signer.list, signer.secrets));
  const std::string expected = arguments.value("--plan");
  if (!expected.empty() && !plan.inputs.hex().starts_with(expected)) {
    return fail(ErrorCode::stale,
                fmt::format("the plan is stale: {} was approved, now it would be {}", expected,
                            plan.inputs.brief()))
        .hint("look at what has changed: consort plan");
  }
  if (!arguments.json()) print(render_plan(plan, Detail::brief, output_width()));
  TRYV(plan::check_permitted(plan));
  if (plan.empty()) {
    if (arguments.json()) print(nothing_to_do(plan, broken ? kPartial : kOk).dump() + "\n");
    return broken ? kPartial : kOk;
  }
  if (!arguments.has("--propose") && !confirmed(arguments, plan)) {
    print("nothing was changed\n");
    return kError;
  }
  if (!TRY(sign_request(answered, arguments, signer, request))) return kOk;
  TRYV(finish_upload());
  request["expect"] = plan.inputs.str();
  const Json answer = TRY(start_rollout(client, request, arguments));
  const std::string id = answer.string_or("rollout");
  if (id.empty()) return broken ? kPartial : kOk;
  if (arguments.has("--detach")) {
    print(arguments.json()
              ? Json::object({{"rollout", id}}).dump() + "\n"
              : fmt::format("rollout {} is under way; look with: consort status\n", id));
    return kOk;
  }
  const int status = TRY(follow(client, id, arguments));
  if (status == kOk && signer.list) TRYV(remember_statement(*signer.list, signer.sequence));
  return status == kOk && broken ? kPartial : status;
}

// The command that carries out what was planned, with what it still needs to be allowed.
std::string deploy_command_line(const Arguments& arguments, const plan::Plan& plan) {
  std::vector<std::string> more = missing_options(plan);
  more.insert(more.end(), {"--plan", plan.inputs.brief()});
  return command_line(deploy_command(), {}, arguments, more);
}

void show_plan(const Arguments& arguments, const plan::Plan& plan) {
  print(render_plan(plan, Detail::normal, output_width()));
  if (plan.empty()) return;
  const bool possible = std::none_of(plan.needs.begin(), plan.needs.end(),
                                     [](const plan::Need& need) { return need.option.empty(); });
  if (possible)
    print(paint(Colour::dim, plan.needs.empty() ? "to deploy exactly this: "
                                                : "to allow it and deploy exactly this: ") +
          deploy_command_line(arguments, plan) + "\n");
}

// Hosts with a trust list refuse what nobody signed. That they have one is known of those that took
// a signed statement before. A warning only: without it the plan is as good.
void warn_of_signed_hosts(http::Client& client) {
  const auto known = client.get_json("/v1/hosts");
  if (!known) return;
  std::vector<std::string> names;
  for (const Json& host : known->find("hosts")->as_array()) {
    if (host.find("report")->int_or("statement") > 0) names.push_back(host.string_or("name"));
  }
  if (names.empty()) return;
  const bool one = names.size() == 1;
  print_to_stderr(fmt::format(
      "{} {} took signed statements before; with a trust list {} unsigned deploys\n",
      paint_for_stderr(Colour::yellow, "warning:"),
      one ? names.front() : fmt::format("{} and {} more", names.front(), names.size() - 1),
      one ? "it refuses" : "they refuse"));
}

Result<int> run_plan(const Arguments& arguments) {
  http::Client client = TRY(controller_client(arguments));
  const Prepared prepared = TRY(prepare(arguments, &client));
  const plan::Generation& compiled = prepared.compiled.generation;
  const auto trust = TRY(chosen_trust_for(client, arguments, compiled.site));
  TRY(upload(client, prepared, Upload::manifests));
  const Json answer =
      TRY(client.send_json("POST", "/v1/plan", request_json(compiled, arguments), minutes(2)));
  plan::Plan plan = TRY(plan::plan_from_json(answer));
  if (trust)  // then `deploy` signs
    ask_for_outage(plan, arguments, &compiled);
  const int status = plan.empty() && plan.needs.empty() ? kOk : kChanges;
  if (arguments.json()) {
    Json out = answer;
    out["needs"] = *plan::plan_to_json(plan).find("needs");
    Json broken = Json::object();
    for (const auto& [name, error] : prepared.compiled.broken) broken[name] = error_to_json(error);
    out["broken"] = broken;
    out["command"] = plan.empty() ? Json() : Json(deploy_command_line(arguments, plan));
    out["exit"] = status;
    print(out.dump() + "\n");
  } else {
    tell_broken(prepared.compiled.broken);
    tell_warnings(compiled);
    show_plan(arguments, plan);
    if (arguments.has("--unsigned")) warn_of_signed_hosts(client);
  }
  return status;
}

Result<int> run_deploy(const Arguments& arguments) {
  http::Client client = TRY(controller_client(arguments));
  const Prepared prepared = TRY(prepare(arguments, &client));
  const plan::Generation& compiled = prepared.compiled.generation;
  if (!arguments.json()) {
    tell_broken(prepared.compiled.broken);
    tell_warnings(compiled);
  }
  Signer signer{TRY(chosen_trust_for(client, arguments, compiled.site)), &compiled, 0,
                secret_versions(prepared.compiled)};
  TRY(upload(client, prepared, Upload::manifests));
  return carry_out(
      client, compiled, arguments, std::move(signer),
      [&]() -> Status {
        const UploadReport sent = TRY(upload(client, prepared, Upload::everything));
        if (sent.objects > 0 && !arguments.json())
          print_to_stderr(fmt::format("sent {}\n", shown_objects(sent.objects, sent.bytes)));
        return {};
      },
      !prepared.compiled.broken.empty() && arguments.has("--keep-going"));
}

Result<int> run_rollback(const Arguments& arguments) {
  http::Client client = TRY(controller_client(arguments));
  // 0: the one before the current one.
  const std::string to = arguments.value("--to", "0");
  const bool is_number = to.find_first_not_of("0123456789") == std::string::npos && to.size() <= 12;
  if (!is_number || (arguments.has("--to") && to.find_first_not_of('0') == std::string::npos))
    return fail(ErrorCode::usage, fmt::format("--to {}: not the number of a generation", to))
        .hint("see them with: consort history");
  const plan::Generation candidate =
      TRY(plan::generation_from_json(TRY(client.get_json("/v1/rollback?to=" + url_encode(to)))));
  if (!arguments.json()) print(fmt::format("back to generation {}\n", candidate.rollback_of));
  Signer signer{TRY(chosen_trust_for(client, arguments, candidate.site)), nullptr, 0, {}};
  return carry_out(
      client, candidate, arguments, std::move(signer), [] { return Status(); }, false);
}

}  // namespace

Command plan_command() {
  std::vector<Option> options = with_plan_options(trust_options());
  options.push_back(no_exec_option());
  return {"plan",
          "Show what a deploy would do, and why.",
          "Waves, actions with their reasons, content diffs, one totals line, what it needs to be "
          "allowed, and the command that deploys exactly this.",
          {},
          std::move(options),
          run_plan,
          false,
          false,
          "consort plan --site shop/site.jsonnet"};
}

Command deploy_command() {
  return {"deploy",
          "Deploy the site: plan, roll out under the policy, commit, or go back.",
          "Shows the plan, asks (at a terminal, also when its output goes into a pipe), and "
          "follows the rollout until it ends. What a plan "
          "needs to be allowed is refused without the word for it.",
          {},
          with_signing_options(with_plan_options(
              {{"--plan", "PLAN",
                "Deploy only if the plan is still this one (printed by `consort plan`)."},
               {"--yes", "", "Do not ask."},
               {"--message", "TEXT", "Why; kept in the history.", false, "-m"},
               {"--wait", "", "Wait when somebody else is changing the same services."},
               {"--detach", "", "Start the rollout and return."}})),
          run_deploy,
          false,
          false,
          "consort deploy --site shop/site.jsonnet -m 'shop 2.1'"};
}

Command rollback_command() {
  return {"rollback",
          "Bring an earlier generation back, dependents first.",
          "Without --to, the generation before the current one. Skips canary and soak, obeys order "
          "and availability.",
          {},
          with_signing_options(
              {{"--to", "GENERATION", "The generation's number."},
               {"--yes", "", "Do not ask."},
               {"--message", "TEXT", "Why; kept in the history.", false, "-m"},
               {"--allow-outage", "", "Allow joint outages this time."},
               {"--allow-unsafe-removal", "", "Allow removing the last holder of data."},
               {"--wait", "", "Wait when somebody else is changing the same services."},
               {"--detach", "", "Start and return."}}),
          run_rollback,
          false,
          false,
          "consort rollback --to 3"};
}

}  // namespace consort::cli
