// consort secret: values that only the hosts whose services use them can read (ADR 0012).
#include <fmt/format.h>

#include "base/process.h"
#include "base/text.h"
#include "cli/context.h"
#include "cli/credentials.h"
#include "cli/layout.h"
#include "cli/rows.h"
#include "cli/secret_sealing.h"
#include "cli/secret_value.h"
#include "cli/seen.h"
#include "cli/terminal.h"
#include "crypto/random.h"
#include "crypto/seal.h"

namespace consort::cli {
namespace {

Result<SecretUses> uses_by_site(const Arguments& arguments, http::Client& client) {
  if (!site_file(arguments)) return secret_uses(client, nullptr);
  std::vector<Error> mistakes;
  const Prepared site = TRY(prepare(arguments, &client, &mistakes, SecretChecks::unasked));
  return secret_uses(client, &site);
}

// What is there already is signed once more only where that takes nothing away and says nothing
// new.
Status check_reseal(const SecretSigners& signers, const SecretFacts& facts,
                    const NewestSecret& newest) {
  TRYV(check_stays_signed(signers, newest));
  TRYV(check_newest(signers, facts, newest));
  if (!signers.list) return {};
  return check_secret_versions(*signers.list, {{facts.name, newest.sealed.version}});
}

// `newest`: what is sealed anew; null for a new version.
Result<int> send(const Arguments& arguments, http::Client& client, const SecretFacts& facts,
                 const crypto::PrivateKey& own, const crypto::SecretBytes& value, Sending sending,
                 const NewestSecret* newest = nullptr) {
  const SecretUses uses = TRY(uses_by_site(arguments, client));
  const SecretUsers users = secret_users(arguments, uses, facts);
  const std::vector<std::string> recovery = TRY(recovery_keys(arguments, own, facts.recovery));
  const SecretSigners signers = TRY(secret_signers(users.site, facts.partition));
  if (newest != nullptr) TRYV(check_reseal(signers, facts, *newest));
  const std::uint64_t version =
      newest != nullptr ? newest->sealed.version : TRY(next_version(signers, facts));
  const Sent sent =
      TRY(seal_and_send(client, facts, users, recovery, signers, value, version, sending));
  if (arguments.json()) {
    print(sent_to_json(sent).dump() + "\n");
    return kOk;
  }
  const access::SealedSecret& secret = sent.secret;
  print(fmt::format("{} version {}, for {}, sealed for {} host{}{}{}\n", facts.name, version,
                    join(secret.services, ", "), secret.hosts.size(),
                    secret.hosts.size() == 1 ? "" : "s",
                    recovery.size() > 1 ? fmt::format(" and {} operators", recovery.size()) : "",
                    secret.signatures.empty() ? "" : ", signed"));
  print(unsealed_text(facts.name, sent.missing, sent.revoked, ""));
  if (sending != Sending::reseal && version > 1) print("it takes effect with the next deploy\n");
  return kOk;
}

Result<int> run_set(const Arguments& arguments) {
  forbid_core_dumps();
  http::Client client = TRY(controller_client(arguments));
  const std::string& name = arguments.words.at(0);
  TRYV(check_secret_name(name));
  // First the value: while it is typed, others may set the secret, too.
  const crypto::SecretBytes value = TRY(read_value(arguments));
  const SecretFacts facts = TRY(ask_secret(client, name));
  return send(arguments, client, facts, TRY(recovery_key()), value, Sending::set);
}

Result<int> run_rotate(const Arguments& arguments) {
  forbid_core_dumps();
  http::Client client = TRY(controller_client(arguments));
  const std::string& name = arguments.words.at(0);
  TRYV(check_secret_name(name));
  const crypto::SecretBytes value = arguments.has("--file")
                                        ? TRY(read_value(arguments))
                                        : crypto::SecretBytes(crypto::random_token(256));
  const SecretFacts facts = TRY(ask_secret(client, name));
  return send(arguments, client, facts, TRY(recovery_key()), value, Sending::rotate);
}

Result<int> run_reseal(const Arguments& arguments) {
  forbid_core_dumps();
  http::Client client = TRY(controller_client(arguments));
  const std::string& name = arguments.words.at(0);
  const SecretFacts facts = TRY(ask_secret(client, name));
  const crypto::PrivateKey recovery = TRY(recovery_key());
  auto newest = open_newest(client, facts, recovery);
  if (!newest && newest.error().code() == ErrorCode::refused)
    return fail(ErrorCode::refused, fmt::format("'{}' is not sealed for your recovery key, {}",
                                                name, TRY(recovery_file()).string()))
        .hint(fmt::format("who has set it can seal it anew, for you, too, with --recipient {}; or "
                          "give the value again: consort secret set {}",
                          recovery.public_key().to_text(), name));
  if (!newest) return fail(std::move(newest).error());
  return send(arguments, client, facts, recovery, newest->value, Sending::reseal, &*newest);
}

Result<int> run_list(const Arguments& arguments) {
  http::Client client = TRY(controller_client(arguments));
  const Json answer = TRY(client.get_json("/v1/secrets"));
  if (arguments.json()) {
    print(answer.dump() + "\n");
    return kOk;
  }
  const auto names = [](const Json& secret, std::string_view key) {
    std::vector<std::string> out;
    const Json* list = secret.find(key);
    if (list == nullptr || !list->is_array()) return out;
    for (const Json& item : list->as_array())
      if (item.is_string()) out.push_back(item.as_string());
    return out;
  };
  std::vector<std::vector<std::string>> rows = {
      {"SECRET", "VERSION", "SERVICES", "HOSTS", "SET", "BY"}};
  const Json* secrets = answer.find("secrets");
  if (secrets != nullptr && secrets->is_array()) {
    for (const Json& secret : secrets->as_array())
      rows.push_back({secret.string_or("name"), std::to_string(secret.int_or("version")),
                      join(names(secret, "services"), ","),
                      std::to_string(names(secret, "hosts").size()),
                      shown_time(secret.string_or("at")), secret.string_or("by")});
  }
  print(rows.size() > 1 ? table(rows)
                        : "there is no secret; set one with: consort secret set NAME\n");
  return kOk;
}

Result<int> run_remove(const Arguments& arguments) {
  http::Client client = TRY(controller_client(arguments));
  const std::string& name = arguments.words.at(0);
  const Json answer = TRY(client.send_json("DELETE", secret_path(name), Json::object()));
  print(arguments.json()
            ? answer.dump() + "\n"
            : fmt::format("{} is gone from the controller; hosts that used it may have its sealed "
                          "text for a while: change the value where it is checked, too\n",
                          name));
  return kOk;
}

std::vector<Option> sealing_options(std::vector<Option> more) {
  std::vector<Option> out = {
      site_option(),
      {"--service", "SERVICE",
       "May use it, too; without a site: these services, where they run now.", true},
      {"--host", "HOST", "Is to read it, too, before the site places a service there.", true},
      recipient_option(),
      {"--drop-recipients", "",
       "Of operators, only you and those of --recipient; default: those of the newest version, "
       "too."}};
  out.insert(out.begin(), more.begin(), more.end());
  return out;
}

const Positional& name_word() {
  static const Positional out{"SECRET", "Its name, as in ${secret.NAME} in the content of a file.",
                              Positional::Count::one};
  return out;
}

}  // namespace

Command secret_set_command() {
  return {"secret set",
          "Give a secret its value, from standard input or a file.",
          "The value is sealed on this machine to the hosts whose services use it by the site; the "
          "controller never sees it. A secret that is there gets a new version, which the next "
          "deploy brings to its services as a reconfiguration. It is also sealed to your recovery "
          "key (recovery.pem beside your contexts) and to those of other operators (--recipient), "
          "so that you and they can seal it for hosts that come later.",
          {name_word()},
          sealing_options(
              {{"--file", "FILE", "Where the value is; - is standard input."}, exact_option()}),
          run_set,
          false,
          false,
          "consort secret set db-password < password.txt"};
}
Command secret_list_command() {
  return {"secret list",
          "List the secrets, their versions and who may use them; never a value.",
          "",
          {},
          {},
          run_list};
}
Command secret_rotate_command() {
  return {"secret rotate",
          "Give a secret a new value: a random one, or that of a file.",
          "The random value has 256 bits, in letters and digits that no configuration minds.",
          {name_word()},
          sealing_options(
              {{"--file", "FILE", "Where the new value is; - is standard input."}, exact_option()}),
          run_rotate};
}
Command secret_reseal_command() {
  return {"secret reseal",
          "Seal a secret anew, for hosts and services that came later.",
          "The value and its version stay. It needs a recovery key that it was sealed to.",
          {name_word()},
          sealing_options({}),
          run_reseal};
}
Command secret_remove_command() {
  return {"secret remove",
          "Remove a secret from the controller.",
          "Only one that no service uses: neither the current generation nor a rollout wants it, "
          "and no "
          "host has it any more. Its version numbers are not used again.",
          {name_word()},
          {},
          run_remove};
}

}  // namespace consort::cli
