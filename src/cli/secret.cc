// consort secret: values that only the hosts whose services use them can read (ADR 0012).
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include "access/secrets.h"
#include "base/process.h"
#include "base/text.h"
#include "cli/context.h"
#include "cli/credentials.h"
#include "cli/rows.h"
#include "cli/sign.h"
#include "cli/terminal.h"
#include "crypto/random.h"
#include "crypto/seal.h"
#include "signing/sealed_secret.h"

namespace consort::cli {
namespace {

std::string path_of(const std::string& name) { return "/v1/secrets/" + url_encode(name); }

// What the controller says that one needs to seal.
struct Facts {
  std::string partition;
  std::string site;  // that is deployed; "": none yet
  std::uint64_t last = 0;
  std::map<std::string, std::string> keys;  // of all hosts that have told one
  std::set<std::string> services;           // of the secret, when there is one
};

Result<Facts> ask_facts(http::Client& client, const std::string& name) {
  if (!is_name(name))
    return fail(ErrorCode::usage, fmt::format("'{}' is no name for a secret", name.substr(0, 80)))
        .hint("letters, digits, '.', '_', '-'; at most 63");
  const Json answer = TRY(client.get_json(path_of(name)));
  Facts out;
  out.partition = answer.string_or("partition");
  out.site = answer.string_or("site");
  out.last = static_cast<std::uint64_t>(answer.int_or("last"));
  if (const Json* hosts = answer.find("hosts"); hosts != nullptr && hosts->is_object()) {
    for (const auto& [host, key] : hosts->as_object())
      if (key.is_string()) out.keys.emplace(host, key.as_string());
  }
  const Json* secret = answer.find("secret");
  const Json* services = secret == nullptr ? nullptr : secret->find("services");
  if (services != nullptr && services->is_array()) {
    for (const Json& service : services->as_array())
      if (service.is_string()) out.services.insert(service.as_string());
  }
  return out;
}

// Who may use it, and where that is.
struct Users {
  std::string site;
  std::set<std::string> services;
  std::set<std::string> hosts;
};

Result<Users> find_users(const Arguments& arguments, http::Client& client, const std::string& name,
                         const Facts& facts) {
  Users out;
  out.site = facts.site;
  for (std::string& service : arguments.values("--service")) out.services.insert(service);
  for (std::string& host : arguments.values("--host")) out.hosts.insert(host);
  std::vector<fleet::Placement> placements = {TRY(previous_placement(&client))};
  if (site_file(arguments)) {
    std::vector<Error> mistakes;
    const Prepared site = TRY(prepare(arguments, &client, &mistakes, SecretChecks::unasked));
    for (const auto& [service, record] : site.compiled.generation.services) {
      if (site.compiled.manifests.at(record.manifest).secrets.contains(name))
        out.services.insert(service);
    }
    // Of these the site does not tell.
    for (const auto& [service, error] : site.compiled.broken) {
      if (facts.services.contains(service)) out.services.insert(service);
    }
    placements.push_back(site.placement);
    out.site = site.compiled.generation.site;
  } else {
    out.services.insert(facts.services.begin(), facts.services.end());
  }
  if (out.services.empty())
    return fail(ErrorCode::usage, fmt::format("who uses the secret '{}'?", name))
        .hint(fmt::format("write ${{secret.{}}} into a file of the site and say this beside it "
                          "(or with --site); or name the services: --service NAME",
                          name));
  for (const fleet::Placement& placement : placements) {
    for (const std::string& service : out.services) {
      if (const auto it = placement.find(service); it != placement.end())
        out.hosts.insert(it->second.begin(), it->second.end());
    }
  }
  return out;
}

// With it the operator can open what they have set, to seal it for hosts that come later.
Result<crypto::PrivateKey> recovery_key() {
  const fs::path folder = TRY(config_folder());
  const fs::path file = folder / "recovery.pem";
  auto text = read_file(file, crypto::kPemLimit);
  if (text) {
    auto key = crypto::PrivateKey::from_pem(*text);
    crypto::wipe(*text);
    if (!key) return fail(std::move(key).error().context("reading " + file.string()));
    return key;
  }
  if (text.error().code() != ErrorCode::not_found) return fail(std::move(text).error());
  crypto::PrivateKey key = crypto::PrivateKey::generate(crypto::KeyKind::x25519);
  TRYV(make_folders(folder, 0700));
  TRYV(write_file_atomic(file, key.to_pem().reveal(), 0600));
  return key;
}

Result<crypto::SecretBytes> read_input(int fd, const std::string& what) {
  crypto::SecretBytes out = crypto::SecretBytes::of_size(access::kMaxSecretBytes + 1);
  std::size_t size = 0;
  while (size < out.size()) {
    const ssize_t got = ::read(fd, out.data() + size, out.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno(errno, "cannot read " + what);
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  if (size > access::kMaxSecretBytes)
    return fail(ErrorCode::too_large,
                fmt::format("{} is longer than {} bytes", what, access::kMaxSecretBytes))
        .hint("keep large material in a file that is encrypted, and its key as a secret");
  return crypto::SecretBytes(out.reveal().substr(0, size));
}

Result<crypto::SecretBytes> read_value(const Arguments& arguments) {
  crypto::SecretBytes value;
  const std::string file = arguments.value("--file", "-");
  if (file == "-" && stdin_is_terminal()) {
    print_to_stderr("value (it is not shown): ");
    std::string line = TRY(read_secret_line());
    value = crypto::SecretBytes::take(line);
  } else if (file == "-") {
    value = TRY(read_input(STDIN_FILENO, "standard input"));
  } else {
    const Fd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd.valid()) return fail_errno(errno, "cannot read " + file);
    value = TRY(read_input(fd.get(), file));
  }
  // What echo and editors put there.
  const std::string_view text = value.reveal();
  if (!arguments.has("--exact") && text.ends_with('\n'))
    value = crypto::SecretBytes(text.substr(0, text.size() - 1));
  if (value.empty())
    return fail(ErrorCode::usage, "the value is empty")
        .hint("pipe it in, or name its file: --file FILE; it is never an argument");
  return value;
}

// By the operator's keys that the site's trust list names; false: there is no such list.
Result<bool> sign_secret(const std::string& site, const std::string& partition,
                         access::SealedSecret& secret) {
  if (site.empty()) return false;
  const auto list = TRY(own_trust_list(site));
  if (!list) return false;
  for (const crypto::PrivateKey& key : TRY(trusted_keys(*list)))
    TRYV(signing::add_signature(key, partition, secret));
  return !secret.signatures.empty();
}

enum class Verb : std::uint8_t { set, rotate, reseal };

Result<int> seal_and_send(const Arguments& arguments, http::Client& client, const std::string& name,
                          const Facts& facts, const crypto::SecretBytes& value,
                          std::uint64_t version, Verb verb) {
  const Users users = TRY(find_users(arguments, client, name, facts));
  const crypto::PrivateKey recovery = TRY(recovery_key());
  access::SealedSecret secret;
  secret.name = name;
  secret.version = version;
  secret.services.assign(users.services.begin(), users.services.end());
  secret.recovery = {recovery.public_key().to_text()};
  std::vector<crypto::PublicKey> recipients = {recovery.public_key()};
  std::vector<std::string> missing;
  for (const std::string& host : users.hosts) {
    const auto key = facts.keys.find(host);
    if (key == facts.keys.end()) {
      missing.push_back(host);
      continue;
    }
    secret.hosts.emplace(host, key->second);
    recipients.push_back(TRY(crypto::PublicKey::from_text(key->second)));
  }
  secret.sealed =
      TRY(crypto::seal(value, recipients, access::secret_context(facts.partition, name, version)));
  const bool is_signed = TRY(sign_secret(users.site, facts.partition, secret));
  const Json answer = TRY(client.send_json(verb == Verb::rotate ? "POST" : "PUT",
                                           path_of(name) + (verb == Verb::rotate ? "/rotate" : ""),
                                           access::sealed_secret_to_json(secret)));
  if (arguments.json()) {
    Json out = answer;
    out["services"] = Json::array_of(secret.services);
    Json& hosts = out["hosts"] = Json::array();
    for (const auto& [host, key] : secret.hosts) hosts.push_back(host);
    out["missing"] = Json::array_of(missing);
    out["signed"] = is_signed;
    print(out.dump() + "\n");
    return kOk;
  }
  print(fmt::format("{} version {}, for {}, sealed for {} host{}{}\n", name, version,
                    join(secret.services, ", "), secret.hosts.size(),
                    secret.hosts.size() == 1 ? "" : "s", is_signed ? ", signed" : ""));
  if (!missing.empty())
    print(
        fmt::format("not for {}, which {} not joined with a key yet; later: consort secret reseal "
                    "{}\n",
                    join(missing, ", "), missing.size() == 1 ? "has" : "have", name));
  if (verb != Verb::reseal && version > 1) print("it takes effect with the next deploy\n");
  return kOk;
}

Result<int> run_set(const Arguments& arguments) {
  forbid_core_dumps();
  http::Client client = TRY(controller_client(arguments));
  const std::string& name = arguments.words.at(0);
  const Facts facts = TRY(ask_facts(client, name));
  const crypto::SecretBytes value = TRY(read_value(arguments));
  return seal_and_send(arguments, client, name, facts, value, facts.last + 1, Verb::set);
}

Result<int> run_rotate(const Arguments& arguments) {
  forbid_core_dumps();
  http::Client client = TRY(controller_client(arguments));
  const std::string& name = arguments.words.at(0);
  const Facts facts = TRY(ask_facts(client, name));
  const crypto::SecretBytes value = arguments.has("--file")
                                        ? TRY(read_value(arguments))
                                        : crypto::SecretBytes(crypto::random_token(256));
  return seal_and_send(arguments, client, name, facts, value, facts.last + 1, Verb::rotate);
}

Result<int> run_reseal(const Arguments& arguments) {
  forbid_core_dumps();
  http::Client client = TRY(controller_client(arguments));
  const std::string& name = arguments.words.at(0);
  const Facts facts = TRY(ask_facts(client, name));
  const Json answer = TRY(client.get_json(path_of(name) + "/sealed"));
  const auto version = static_cast<std::uint64_t>(answer.int_or("version"));
  auto value = crypto::open(answer.string_or("sealed"), TRY(recovery_key()),
                            access::secret_context(facts.partition, name, version));
  if (!value && value.error().code() == ErrorCode::refused)
    return fail(ErrorCode::refused,
                fmt::format("'{}' is not sealed for your recovery key, {}", name,
                            (TRY(config_folder()) / "recovery.pem").string()))
        .hint(
            fmt::format("who has set it can seal it anew; or give the value again: consort secret "
                        "set {}",
                        name));
  if (!value) return fail(std::move(value).error());
  return seal_and_send(arguments, client, name, facts, *value, version, Verb::reseal);
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
                      std::to_string(names(secret, "hosts").size()), secret.string_or("at"),
                      secret.string_or("by")});
  }
  print(rows.size() > 1 ? table(rows)
                        : "there is no secret; set one with: consort secret set NAME\n");
  return kOk;
}

Result<int> run_remove(const Arguments& arguments) {
  http::Client client = TRY(controller_client(arguments));
  const std::string& name = arguments.words.at(0);
  const Json answer = TRY(client.send_json("DELETE", path_of(name), Json::object()));
  print(arguments.json()
            ? answer.dump() + "\n"
            : fmt::format("{} is gone from the controller; hosts that use it keep what they have "
                          "until their service goes: change it where it is checked, too\n",
                          name));
  return kOk;
}

std::vector<Option> sealing_options(std::vector<Option> more) {
  std::vector<Option> out = {
      site_option(),
      {"--service", "SERVICE",
       "May use it, too; without a site: these services, where they run now.", true},
      {"--host", "HOST", "Is to read it, too, before the site places a service there.", true}};
  out.insert(out.begin(), more.begin(), more.end());
  return out;
}

const Positional& name_word() {
  static const Positional out{"NAME", "Its name: ${secret.NAME} in the content of a file.",
                              Positional::Count::one};
  return out;
}
const Option& exact_option() {
  static const Option out{"--exact", "", "Keep a newline at the end of what is read."};
  return out;
}

}  // namespace

Command secret_set_command() {
  return {"secret set",
          "Give a secret its value, from standard input or a file.",
          "The value is sealed on this machine to the hosts whose services use it by the site; the "
          "controller never sees it. A secret that is there gets a new version, which the next "
          "deploy brings to its services as a reconfiguration. It is also sealed to your recovery "
          "key (recovery.pem beside your contexts), so that you can seal it for hosts that come "
          "later.",
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
          "The value and its version stay. It needs the recovery key of whoever set it.",
          {name_word()},
          sealing_options({}),
          run_reseal};
}
Command secret_remove_command() {
  return {"secret remove",
          "Remove a secret from the controller.",
          "Its version numbers are not used again.",
          {name_word()},
          {},
          run_remove};
}

}  // namespace consort::cli
