#include "cli/credentials.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "access/tokens.h"
#include "base/json_reader.h"
#include "base/text.h"
#include "crypto/certificates.h"

namespace consort::cli {
namespace {

constexpr std::size_t kContextBytes = 256U << 10U;

std::string from_environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

Result<fs::path> file_of(const std::string& name) {
  if (!is_name(name))
    return fail(ErrorCode::invalid_input,
                fmt::format("'{}' is no name for a context", name.substr(0, 80)))
        .hint("letters, digits, '.', '_', '-'; at most 63");
  return TRY(config_folder()) / "contexts" / (name + ".json");
}

// Whose credential is there; `worthless` when nobody is let in with it any more.
struct Holder {
  std::string name;  // "": not known
  bool worthless = false;
};

Holder holder_of(const Context& there, const Context& fresh) {
  if (!there.certificate_pem.empty()) {
    const auto end = certificate_end(there).value_or(std::nullopt);
    return {certificate_holder(there).value_or(""), end && *end <= SystemClock().now()};
  }
  if (there.token.empty()) return {"", true};
  // A token does not say whose it is. Of another authority's controller nobody is asked.
  if (there.authority_pem != fresh.authority_pem) return {};
  auto client = client_of(there);
  if (!client) return {};
  const auto me = client->get_json("/v1/whoami");
  if (me) return {me->string_or("name"), false};
  return {"", me.error().code() == ErrorCode::unauthenticated};
}

}  // namespace

Json context_to_json(const Context& context) {
  return Json::object({{"name", context.name},
                       {"controller", context.controller},
                       {"authority", context.authority_pem},
                       {"certificate", context.certificate_pem},
                       {"key", context.key_pem},
                       {"token", context.token}});
}

Result<Context> context_from_json(const Json& json) {
  JsonReader reader(json, "");
  Context out;
  out.name = reader.string("name");
  out.controller = reader.string("controller");
  out.authority_pem = reader.string("authority", "");
  out.certificate_pem = reader.string("certificate", "");
  out.key_pem = reader.string("key", "");
  out.token = reader.string("token", "");
  TRYV(reader.finish());
  return out;
}

Result<fs::path> config_folder() {
  if (const std::string xdg = from_environment("XDG_CONFIG_HOME"); !xdg.empty())
    return fs::path(xdg) / "consort";
  if (const std::string home = from_environment("HOME"); !home.empty())
    return fs::path(home) / ".config" / "consort";
  return fail(ErrorCode::io, "neither HOME nor XDG_CONFIG_HOME says where credentials are kept")
      .hint("export HOME, or name a file: --context FILE");
}

Result<Context> load_context(const std::string& name_or_path) {
  const bool is_path = name_or_path.find('/') != std::string::npos;
  const fs::path file = is_path ? fs::path(name_or_path) : TRY(file_of(name_or_path));
  auto text = read_file(file, kContextBytes);
  if (!text && text.error().code() == ErrorCode::not_found) {
    if (is_path)
      return fail(std::move(text).error().context("for the credential of a controller"))
          .hint(
              "CONSORT_CONTEXT or --context names it; a name without '/' is one of: consort "
              "context list");
    const std::vector<std::string> names = TRY(context_names());
    return fail(ErrorCode::not_found, fmt::format("there is no context '{}'", name_or_path))
        .hint(names.empty() ? "there is none yet; log in: consort login URL --token-file FILE"
                            : fmt::format("there are: {}", join(names, ", ")));
  }
  if (!text) return fail(std::move(text).error());
  TRYV(check_private(file, "have the credential replaced if they might have read it"));
  const auto json = parse_json(*text, file.string());
  // Not an excerpt of it: it may be a token.
  if (!json || !json->is_object())
    return fail(ErrorCode::invalid_input, fmt::format("{} is no file of a context", file.string()))
        .hint("a token becomes one with: consort login URL --token-file FILE");
  auto context = context_from_json(*json);
  if (!context) return fail(std::move(context).error().context("in " + file.string()));
  return context;
}

Status save_context(const Context& context, const fs::path& file) {
  remove_leftovers_of(file, kLeftoverAge);
  return write_file_atomic(file, context_to_json(context).dump() + "\n", 0600);
}

Status save_context(const Context& context) {
  const fs::path file = TRY(file_of(context.name));
  TRYV(make_folders(file.parent_path(), 0700));
  return save_context(context, file);
}

Status check_replaceable(const Context& fresh, const std::string& who, std::string_view option) {
  std::error_code ec;
  if (!fs::exists(TRY(file_of(fresh.name)), ec)) return {};
  const auto there = load_context(fresh.name);
  std::string what = "which cannot be read";
  if (there) {
    const Holder holder = holder_of(*there, fresh);
    const bool same = holder.name == who && there->authority_pem == fresh.authority_pem;
    if (same || holder.worthless) return {};
    what = fmt::format("for {} at {}", holder.name.empty() ? "somebody" : holder.name,
                       there->controller);
  }
  return fail(ErrorCode::conflict,
              fmt::format("there is a context '{}' already, {}; its credential would be lost",
                          fresh.name, what))
      .hint(fmt::format("choose another name: {} NAME; or, if nobody needs it any more: consort "
                        "context remove {}",
                        option, fresh.name));
}

Status remove_context(const std::string& name) {
  const fs::path file = TRY(file_of(name));
  TRYV(load_context(name).map([](const Context&) {}));
  remove_leftovers_of(file, Duration(0));
  TRYV(remove_tree(file));
  if (TRY(current_context_name()) == name) TRYV(remove_tree(TRY(config_folder()) / "current"));
  return {};
}

Result<std::vector<std::string>> context_names() {
  std::vector<std::string> out;
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator(TRY(config_folder()) / "contexts", ec)) {
    if (entry.path().extension() == ".json") out.push_back(entry.path().stem().string());
  }
  std::sort(out.begin(), out.end());
  return out;
}

Result<std::optional<std::string>> current_context_name() {
  const auto folder = config_folder();
  if (!folder) return std::nullopt;
  const auto text = read_file(*folder / "current", 256);
  if (!text && text.error().code() == ErrorCode::not_found) return std::nullopt;
  if (!text) return fail(text.error());
  return std::string(trim(*text));
}

Status use_context(const std::string& name) {
  TRYV(load_context(name).map([](const Context&) {}));
  return write_file_atomic(TRY(config_folder()) / "current", name + "\n", 0600);
}

std::string context_of_environment() { return from_environment("CONSORT_CONTEXT"); }

Result<std::optional<Context>> chosen_context(const Arguments& arguments) {
  std::string name = arguments.value("--context", context_of_environment());
  const std::string url = arguments.value("--controller", from_environment("CONSORT_CONTROLLER"));
  if (url.starts_with("http://")) return Context{"", url, "", "", "", ""};
  if (name.empty()) name = TRY(current_context_name()).value_or("");
  if (name.empty()) {
    if (url.empty()) return std::nullopt;
    return Context{"", url, "", "", "", ""};
  }
  Context out = TRY(load_context(name));
  if (!url.empty()) out.controller = url;
  return out;
}

Result<http::Client> client_of(const Context& context, http::ClientOptions options) {
  options.only_consort = true;
  if (!from_environment("CONSORT_LAB").empty())
    options.how_to_start = "this is a lab; start its controller with: consort lab start controller";
  // What is no URL at all is told by who reads URLs.
  if (!context.controller.starts_with("https://"))
    return http::Client::create(context.controller, options);
  if (context.authority_pem.empty())
    return fail(ErrorCode::usage, fmt::format("whom to trust at {}?", context.controller))
        .hint(fmt::format("log in: consort login {} --token-file FILE; or choose a context: "
                          "--context NAME",
                          context.controller));
  http::ClientTlsOptions tls;
  tls.trust.roots_pem = context.authority_pem;
  if (!context.certificate_pem.empty())
    tls.identity = http::TlsIdentity{context.certificate_pem, crypto::SecretText(context.key_pem)};
  options.tls = TRY(http::ClientTls::create(tls));
  options.token = context.token;
  return http::Client::create(context.controller, options);
}

Result<std::string> fetch_authority(const std::string& url, const std::string& token) {
  if (!url.starts_with("https://"))
    return fail(ErrorCode::invalid_input, fmt::format("{} is not an https:// address", url))
        .hint(url.find("://") == std::string::npos
                  ? fmt::format("write https://{}{}", url,
                                url.find(':') == std::string::npos ? ":8440" : "")
                  : "credentials never travel in the clear; a controller with --insecure wants "
                    "none");
  const access::OperatorTokenText parsed = TRY(access::OperatorTokenText::parse(token));
  http::ClientTlsOptions tls;
  tls.pinned_root = parsed.ca;
  http::ClientOptions options;
  options.only_consort = true;
  options.tls = TRY(http::ClientTls::create(tls));
  http::Client client = TRY(http::Client::create(url, options));
  const std::string pem = TRY(client.get_json("/v1/ca")).string_or("certificate");
  if (TRY(crypto::Certificate::from_pem(pem)).fingerprint() != parsed.ca)
    return fail(ErrorCode::refused,
                fmt::format("{} shows another authority than the token's", url));
  return pem;
}

Result<Context> with_certificate(Context context) {
  http::Client client = TRY(client_of(context));
  const Json me = TRY(client.get_json("/v1/whoami"));
  const crypto::PrivateKey key = crypto::PrivateKey::generate(crypto::KeyKind::ecdsa_p256);
  // The controller knows who asks; the partition is its to say.
  const std::string request = TRY(
      crypto::make_request(key, {crypto::IdentityKind::operator_, "any", me.string_or("name")}));
  const Json answer =
      TRY(client.send_json("POST", "/v1/renew", Json::object({{"request", request}})));
  context.certificate_pem = answer.string_or("certificate");
  context.key_pem = key.to_pem().reveal();
  context.token.clear();
  TRYV(certificate_end(context).map([](const auto&) {}));
  return context;
}

namespace {

// Its own comes first in the chain.
Result<crypto::Certificate> own_certificate(const Context& context) {
  return TRY(crypto::certificates_from_pem(context.certificate_pem)).front();
}

}  // namespace

Result<std::optional<Instant>> certificate_end(const Context& context) {
  if (context.certificate_pem.empty()) return std::nullopt;
  return std::optional(TRY(own_certificate(context)).not_after());
}

std::optional<std::string> certificate_holder(const Context& context) {
  if (context.certificate_pem.empty()) return std::nullopt;
  const auto certificate = own_certificate(context);
  if (!certificate) return std::nullopt;
  const auto identity = certificate->identity();
  return identity ? std::optional(identity->name) : std::nullopt;
}

}  // namespace consort::cli
