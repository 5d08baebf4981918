// consort key: whose signatures hosts ask for, and making them.
#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "cli/context.h"
#include "cli/partition.h"
#include "cli/rows.h"
#include "cli/seen.h"
#include "cli/sign.h"
#include "cli/terminal.h"

namespace consort::cli {
namespace {

Json key_json(const KeyName& key) {
  return Json::object({{"name", key.name}, {"key", key.key.to_text()}});
}

// On a terminal twice: nobody sees what was typed.
Result<crypto::SecretText> ask_new_passphrase() {
  const bool asks = stdin_is_terminal();
  if (asks) print_to_stderr("passphrase (it is not shown): ");
  std::string line = TRY(read_secret_line());
  crypto::SecretText first = crypto::SecretText::take(line);
  if (!asks) return first;
  print_to_stderr("once more: ");
  line = TRY(read_secret_line());
  const crypto::SecretText second = crypto::SecretText::take(line);
  if (first.reveal() != second.reveal())
    return fail(ErrorCode::usage, "the two passphrases differ; no key was made")
        .hint("say the command again");
  return first;
}

Result<int> run_create(const Arguments& arguments) {
  TRYV(check_key_is_free(arguments.word(0)));
  std::optional<crypto::SecretText> passphrase;
  if (const std::string file = arguments.value("--passphrase-file"); !file.empty()) {
    std::string text = TRY(read_file(file, 4096));
    passphrase = crypto::SecretText(trim(text));
    crypto::wipe(text);
  } else if (arguments.has("--passphrase")) {
    passphrase = TRY(ask_new_passphrase());
  }
  const KeyName key = TRY(create_key(arguments.word(0), passphrase ? &*passphrase : nullptr));
  print(arguments.json() ? key_json(key).dump() + "\n"
                         : fmt::format("{} is {}\nhosts believe it once a trust list names it: "
                                       "consort key trust --site-name SITE {}\n",
                                       key.name, key.key.to_text(), key.name));
  return kOk;
}

Result<int> run_list(const Arguments& arguments) {
  Json records = Json::array();
  std::vector<std::vector<std::string>> rows = {{"KEY", "PUBLIC"}};
  for (const KeyName& key : TRY(own_keys())) {
    records.push_back(key_json(key));
    rows.push_back({key.name, key.key.to_text()});
  }
  if (arguments.json()) {
    print(Json::object({{"keys", records}}).dump() + "\n");
  } else {
    print(rows.size() > 1 ? table(rows) : "no key yet: consort key create NAME\n");
  }
  return kOk;
}

Result<int> run_show(const Arguments& arguments) {
  const std::string what = arguments.word(0);
  const KeyName key{what, TRY(public_key_of(what))};
  print(arguments.json() ? key_json(key).dump() + "\n" : key.key.to_text() + "\n");
  return kOk;
}

// Where no --partition is given: that of the context, whose controller the list is most likely for.
struct TakenPartition {
  std::string name = "main";
  std::string how = "as no context says another";
};

Result<TakenPartition> taken_partition(const Arguments& arguments) {
  if (arguments.has("--partition")) return TakenPartition{arguments.value("--partition"), ""};
  const auto context = TRY(chosen_context(arguments));
  if (!context) return TakenPartition{};
  auto partition = partition_of(*context);
  if (!partition)
    return fail(std::move(partition).error().context("which partition the list is for"))
        .hint("say it: --partition NAME");
  if (!*partition) return TakenPartition{};
  return TakenPartition{**partition, context->name.empty() ? "as your controller's"
                                                           : "as of your context " + context->name};
}

Result<int> run_trust(const Arguments& arguments) {
  if (arguments.value("--site-name").empty())
    return fail(ErrorCode::usage, "of which site?").hint("--site-name shop");
  const TakenPartition partition = TRY(taken_partition(arguments));
  Json draft =
      Json::object({{"site", arguments.value("--site-name")}, {"partition", partition.name}});
  Json::Array keys;
  for (const std::string& what : arguments.words)
    keys.emplace_back(TRY(public_key_of(what)).to_text());
  const std::string needed = arguments.value("--needed", "1");
  if (needed.empty() || needed.size() > 3 ||
      needed.find_first_not_of("0123456789") != std::string::npos)
    return fail(ErrorCode::usage, fmt::format("--needed {}: not a number", needed));
  draft["keys"] = std::move(keys);
  draft["needed"] = std::stoll(needed);
  const signing::TrustList list = TRY(signing::trust_list_from_json(draft));
  const std::string out = arguments.value("--out");
  if (out.empty()) {
    TRYV(save_trust_list(list));
  } else {
    TRYV(write_file_atomic(out, signing::trust_list_to_json(list).pretty() + "\n", 0644));
  }
  if (arguments.json()) {
    print(signing::trust_list_to_json(list).dump() + "\n");
    return kOk;
  }
  if (!partition.how.empty())
    print(fmt::format("the partition is {}, {}; another one: --partition NAME\n", list.partition,
                      partition.how));
  print(fmt::format("site {} in {}: {} of {} key{} must sign\n", list.site, list.partition,
                    list.needed, list.keys.size(), list.keys.size() == 1 ? "" : "s"));
  print(out.empty() ? "it is kept as your own; for the hosts, write it to a file with --out, too\n"
                    : fmt::format("put {} on the hosts: consort agent --trust {}\n", out, out));
  return kOk;
}

void tell_what_is_signed(const plan::Statement& statement, const std::vector<std::string>& stay) {
  std::vector<std::vector<std::string>> rows = {{"SERVICE", "MANIFEST", "HOSTS"}};
  for (const auto& [name, service] : statement.services) {
    std::vector<std::string> hosts;
    for (const auto& [host, values] : service.hosts) hosts.push_back(host);
    rows.push_back({name, service.manifest.brief(), join(hosts, ", ")});
  }
  print_to_stderr(fmt::format("statement {} of site {} in {}\n", statement.sequence, statement.site,
                              statement.partition) +
                  table(rows));
  if (!stay.empty()) print_to_stderr(fmt::format("as signed before: {}\n", join(stay, ", ")));
  if (!statement.held.empty())
    print_to_stderr(fmt::format("may be stopped for a while: {}\n", join(statement.held, ", ")));
}

// Without a controller no manifest knows its secrets' versions, and none is what was proposed.
Result<std::map<std::string, std::uint64_t>> known_versions(const Arguments& arguments,
                                                            const plan::Compiled& compiled) {
  const std::vector<std::string> only = arguments.values("--only");
  const std::vector<std::string> except = arguments.values("--except");
  const auto has = [](const std::vector<std::string>& names, const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  for (const auto& [service, record] : compiled.generation.services) {
    const auto manifest = compiled.manifests.find(record.manifest);
    const bool stays = (!only.empty() && !has(only, service)) || has(except, service);
    if (stays || manifest == compiled.manifests.end()) continue;
    for (const auto& [name, version] : manifest->second.secrets) {
      if (version != 0) continue;
      return fail(ErrorCode::usage,
                  fmt::format("{} uses the secret '{}', and only the controller knows its newest "
                              "version: without that, nobody can tell whether the proposal is what "
                              "these sources make",
                              service, name))
          .hint("say where it is: --controller URL, or --context NAME (consort login)");
    }
  }
  auto versions = secret_versions(compiled);
  std::erase_if(versions, [](const auto& item) { return item.second == 0; });
  return versions;
}

Result<int> run_sign(const Arguments& arguments) {
  const fs::path file = arguments.word(0);
  Proposal proposal = TRY(read_proposal(file));
  const auto list = TRY(chosen_trust(arguments, proposal.proposed.statement.site));
  if (!list)
    return fail(ErrorCode::usage,
                fmt::format("there is no trust list of site {}", proposal.proposed.statement.site))
        .hint("make one: consort key trust; or name it: --trust FILE");
  // What a rollback brings back was signed; anything else is compiled here, by who signs. Which of
  // the two it is, the proposal does not decide.
  const bool rollback = arguments.has("--rollback");
  if (proposal.then && !rollback)
    return fail(ErrorCode::refused, fmt::format("{} brings back statement {}", file.string(),
                                                proposal.then->statement.sequence))
        .hint("if you want that, too: --rollback; it needs no sources");
  std::optional<Prepared> prepared;
  if (!rollback) {
    std::optional<http::Client> client;
    if (controller_url(arguments)) {
      client.emplace(TRY(controller_client(arguments)));
      TRYV(check_partition(*list, TRY(controller_partition(*client))));
    }
    // Somebody else has asked for it: what that one's site would run here is told first.
    prepared.emplace(TRY(prepare(arguments, client ? &*client : nullptr, nullptr,
                                 SecretChecks::asked, Programs::asked)));
  }
  std::map<std::string, std::uint64_t> versions;
  if (prepared) versions = TRY(known_versions(arguments, prepared->compiled));
  const auto stay = TRY(review_proposal(arguments, proposal, *list,
                                        prepared ? &prepared->compiled.generation : nullptr));
  const plan::Statement& statement = proposal.proposed.statement;
  if (!arguments.json()) tell_what_is_signed(statement, stay);
  TRYV(check_secret_versions(*list, versions));
  TRYV(remember_secret_versions(*list, versions));
  TRYV(sign_proposal(arguments, *list, proposal));
  TRYV(write_proposal(proposal, file));
  const std::int64_t signatures = signing::signatures_of(*list, plan::ShareTree(statement).head(),
                                                         proposal.proposed.signatures);
  print(arguments.json() ? Json::object({{"statement", statement.sequence},
                                         {"signatures", signatures},
                                         {"needed", list->needed}})
                                   .dump() +
                               "\n"
                         : fmt::format("{} of {} needed signatures are in {}\n", signatures,
                                       list->needed, file.string()));
  return kOk;
}

}  // namespace

Command key_create_command() {
  return {"key create",
          "Make a key to sign generations with.",
          "An Ed25519 key below ~/.config/consort/keys, mode 0600; with a passphrase it is "
          "encrypted.",
          {{"NAME", "what the key is called"}},
          {{"--passphrase", "", "Encrypt it; the passphrase is asked for, or read from a pipe."},
           {"--passphrase-file", "FILE", "Encrypt it with the passphrase in this file."}},
          run_create,
          false,
          false,
          "consort key create ann --passphrase"};
}

Command key_list_command() {
  return {"key list", "The keys that you can sign with.", "", {}, {}, run_list};
}

Command key_show_command() {
  return {"key show", "The public half of a key, as trust lists name it.",
          "",         {{"KEY", "a key's name, or the path of its .pub file"}},
          {},         run_show};
}

Command key_trust_command() {
  return {"key trust",
          "Write a trust list: whose signatures hosts and operators ask for.",
          "Without --out it becomes your own list of the site, and your deploys are signed from "
          "now on.",
          {{"KEY", "names, .pub files or texts (ed25519:…) of keys", Positional::Count::many}},
          {{"--site-name", "NAME", "The name of the site, as its sources say."},
           {"--partition", "NAME",
            "The controller's partition; default: that of the context, or main."},
           {"--needed", "COUNT", "How many of the keys must sign; default 1."},
           {"--out", "FILE", "Write it here, for the hosts, and not as your own."}},
          run_trust,
          false,
          false,
          "consort key trust --site-name shop --needed 2 ann ed25519:…"};
}

Command key_sign_command() {
  std::vector<Option> options = {
      site_option(),
      {"--exec", "", "Run the programs that the site names as inventories, without being asked."},
      no_exec_option()};
  for (const Option& option : signing_options()) {
    if (option.name == "--key" || option.name == "--trust" || option.name == "--new-chain" ||
        option.name == "--as-of")
      options.push_back(option);
  }
  options.insert(
      options.end(),
      {{"--only", "SERVICE", "The deploy is of these services only.", true},
       {"--except", "SERVICE", "The deploy is of all services but these.", true},
       {"--keep-going", "", "The deploy leaves broken services as they are."},
       {"--allow-outage", "", "Services may be stopped for a while, as the plan says."},
       {"--rollback", "", "It brings back what was signed earlier; sources are not looked at."}});
  return {"key sign",
          "Add your signature to what somebody else has proposed.",
          "Compiles the site from your own sources and signs only what these make or what was "
          "signed before. Programs that are inventories are run when you have said so. With "
          "--rollback it needs no sources: it brings back what was signed.",
          {{"FILE", "what `consort deploy --propose FILE` has written"}},
          std::move(options),
          run_sign,
          false,
          false,
          "consort key sign shop.proposal --site shop/site.jsonnet"};
}

}  // namespace consort::cli
