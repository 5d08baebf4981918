// consort secret encrypt, secret key: values that are kept with the site, and for whom.
#include <fmt/format.h>

#include "base/process.h"
#include "base/text.h"
#include "cli/rows.h"
#include "cli/secret_sealing.h"
#include "cli/secret_value.h"
#include "cli/terminal.h"
#include "crypto/seal.h"

namespace consort::cli {
namespace {

Result<int> run_encrypt(const Arguments& arguments) {
  forbid_core_dumps();
  const std::string& name = arguments.words.at(0);
  if (!is_name(name))
    return fail(ErrorCode::usage, fmt::format("'{}' is no name for a secret", name.substr(0, 80)))
        .hint("letters, digits, '.', '_', '-'; at most 63");
  const crypto::PrivateKey own = TRY(recovery_key());
  const std::vector<std::string> recovery = TRY(recovery_keys(arguments, own, {}));
  std::vector<crypto::PublicKey> recipients;
  for (const std::string& key : recovery)
    recipients.push_back(TRY(crypto::PublicKey::from_text(key)));
  const crypto::SecretBytes value = TRY(read_value(arguments));
  const std::string sealed = TRY(crypto::seal(value, recipients, file_context(name)));
  const std::string out = arguments.value("--out");
  if (!out.empty()) TRYV(write_file_atomic(out, sealed + "\n", 0644));
  if (arguments.json()) {
    print(Json::object({{"name", name},
                        {"file", out.empty() ? Json() : Json(out)},
                        {"recovery", Json::array_of(recovery)},
                        {"sealed", sealed}})
              .dump() +
          "\n");
  } else if (out.empty()) {
    print(sealed + "\n");
  } else {
    print(
        fmt::format("{} is in {}, for {} operator{}; in the site: secrets: {{ '{}': {{ file: "
                    "'…' }} }}; then: consort secret sync\n",
                    name, out, recovery.size(), recovery.size() == 1 ? "" : "s", name));
  }
  return kOk;
}

Result<int> run_key(const Arguments& arguments) {
  forbid_core_dumps();
  const std::string key = TRY(recovery_key()).public_key().to_text();
  const std::string file = TRY(recovery_file()).string();
  print(arguments.json() ? Json::object({{"key", key}, {"file", file}}).dump() + "\n" : key + "\n");
  return kOk;
}

}  // namespace

Command secret_encrypt_command() {
  return {"secret encrypt",
          "Encrypt a value into a file that can be kept with the site.",
          "The value is sealed on this machine to your recovery key and those of other operators; "
          "each of them brings it to the controller with `consort secret sync`. It is bound to its "
          "name.",
          {{"SECRET", "The name of the secret.", Positional::Count::one}},
          {{"--file", "FILE", "Where the value is; - is standard input."},
           exact_option(),
           recipient_option(),
           {"--out", "FILE", "Write it here instead of to standard output."}},
          run_encrypt,
          false,
          false,
          "consort secret encrypt tls-key --file tls.key --out secrets/tls-key.sealed"};
}

Command secret_key_command() {
  return {"secret key",
          "Show the public half of your recovery key, for other operators' --recipient.",
          "The key itself is recovery.pem beside your contexts; it is made when it is asked for "
          "the first time.",
          {},
          {},
          run_key};
}

}  // namespace consort::cli
