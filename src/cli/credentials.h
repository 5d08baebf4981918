// What an operator has in hand to be let in: a context names a controller, the authority that
// vouches for it, and either a certificate with its key or a bearer token. One file each, mode
// 0600, below
// ${XDG_CONFIG_HOME:-~/.config}/consort/contexts; the file `current` beside them names the one that
// commands use. Thread-safe.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/time.h"
#include "cli/command.h"
#include "http/client.h"

namespace consort::cli {

struct Context {
  std::string name;
  std::string controller;       // "https://10.0.0.1:8440"
  std::string authority_pem;    // the roots that vouch for the controller
  std::string certificate_pem;  // with key_pem; or
  std::string key_pem;
  std::string token;  // a bearer token
};

// Strict. Errors: invalid_input with the path.
[[nodiscard]] Json context_to_json(const Context& context);
[[nodiscard]] Result<Context> context_from_json(const Json& json);

// ${XDG_CONFIG_HOME:-~/.config}/consort. Error io when neither HOME nor XDG_CONFIG_HOME is set.
[[nodiscard]] Result<fs::path> config_folder();
// Errors: not_found (with the names that there are), refused when others may read the file,
// corrupt.
[[nodiscard]] Result<Context> load_context(const std::string& name_or_path);
[[nodiscard]] Status save_context(const Context& context);  // below config_folder()
[[nodiscard]] Status save_context(const Context& context, const fs::path& file);
[[nodiscard]] Status remove_context(const std::string& name);
// Whether a credential of the operator `who` may be kept as `fresh.name`, by the authority of
// `fresh`: no context is there, or one of the same operator and authority, or one that is worth
// nothing any more (its certificate has ended, its controller refuses its token). Error conflict;
// `option` is what the hint names to give it another name.
[[nodiscard]] Status check_replaceable(const Context& fresh, const std::string& who,
                                       std::string_view option);
[[nodiscard]] Result<std::vector<std::string>> context_names();  // sorted
[[nodiscard]] Result<std::optional<std::string>> current_context_name();
[[nodiscard]] Status use_context(const std::string& name);
// CONSORT_CONTEXT, a name or the path of a file, which goes before the current one; "": not set.
[[nodiscard]] std::string context_of_environment();

// The one that this command shall use: --context, CONSORT_CONTEXT (each a name, or the path of a
// file), or the current one; its URL replaced by --controller or CONSORT_CONTROLLER if given. With
// a plain http:// URL it holds the URL only: credentials never travel in the clear. nullopt when
// nothing names a controller.
[[nodiscard]] Result<std::optional<Context>> chosen_context(const Arguments& arguments);

// `limits` are kept; who it is and whom it trusts are filled in.
// A client that shows the context's credentials and trusts only its authority. Error usage for
// https without an authority to trust.
[[nodiscard]] Result<http::Client> client_of(const Context& context,
                                             http::ClientOptions limits = {});
// The context with a new certificate of the one who has it, in place of what it had: a new key, of
// which only the public half travels. It is good for a year, or until the token's end. Errors: as
// the client's; unsupported (--insecure).
[[nodiscard]] Result<Context> with_certificate(Context context);
// When the context's certificate ends; nullopt: it has none.
[[nodiscard]] Result<std::optional<Instant>> certificate_end(const Context& context);
// Whose certificate the context has; nullopt: it has none, and a token does not say whose it is.
[[nodiscard]] std::optional<std::string> certificate_holder(const Context& context);
// The certificate of the authority whose fingerprint the operator's token carries, asked from the
// controller, which must have it. Errors: invalid_input (the token, the URL), as the client's.
[[nodiscard]] Result<std::string> fetch_authority(const std::string& url, const std::string& token);

}  // namespace consort::cli
