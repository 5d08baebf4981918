#include "cli/context.h"

#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>

#include "base/json_reader.h"
#include "cli/credentials.h"
#include "cli/sample_host.h"
#include "cli/terminal.h"

namespace consort::cli {
namespace {

constexpr std::size_t kPieceBytes = 8U << 20U;
constexpr Duration kWarnBeforeEnd = hours(24 * 30);

Result<std::vector<fleet::Host>> ask_registry(http::Client& client, const std::string& selector) {
  const Json answer = TRY(client.get_json("/v1/registry?selector=" + url_encode(selector)));
  return fleet::hosts_from_json(answer, "", "the controller's registry");
}

// Names and versions of all secrets, asked for when a site uses the first one.
class KnownSecrets {
 public:
  explicit KnownSecrets(http::Client& client) : client_(client) {}

  Result<std::optional<plan::KnownSecret>> find(const std::string& name) {
    if (!loaded_) TRYV(load());
    const auto it = known_.find(name);
    return it == known_.end() ? std::nullopt : std::optional(it->second);
  }

 private:
  Status load() {
    const Json answer = TRY(client_.get_json("/v1/secrets"));
    JsonReader reader(answer, "");
    const std::vector<std::string> revoked = reader.strings("revoked");
    for (const Json& item : reader.array("secrets")) {
      JsonReader one(item, "secrets");
      plan::KnownSecret secret;
      const std::string name = one.string("name");
      secret.version = static_cast<std::uint64_t>(one.integer("version", std::nullopt, 1));
      secret.services = one.strings("services");
      secret.hosts = one.strings("hosts");
      secret.revoked = revoked;
      TRYV(one.finish(UnknownMembers::ignore));
      known_.emplace(name, std::move(secret));
    }
    TRYV(reader.finish(UnknownMembers::ignore));
    loaded_ = true;
    return {};
  }

  http::Client& client_;
  bool loaded_ = false;
  std::map<std::string, plan::KnownSecret> known_;
};

Status send_object(http::Client& client, const objects::ObjectStore& store, const Digest& digest,
                   UploadReport& report) {
  const std::uint64_t size = TRY(store.size(digest));
  std::uint64_t offset = 0;
  if (size > kPieceBytes) {
    const Json state = TRY(client.get_json("/v1/uploads/" + digest.str()));
    offset = static_cast<std::uint64_t>(state.int_or("received"));
  }
  do {
    const std::string piece = TRY(store.slice(digest, offset, kPieceBytes));
    const bool last = offset + piece.size() >= size;
    const std::string target =
        fmt::format("/v1/objects/{}?offset={}&last={}", digest.str(), offset, last ? 1 : 0);
    const http::Response response = TRY(client.request(
        "PUT", target, {{"Content-Type", "application/octet-stream"}}, piece, minutes(5)));
    if (!response.ok()) return fail(http::error_of(response));
    offset += piece.size();
    report.bytes += piece.size();
  } while (offset < size);
  ++report.objects;
  return {};
}

// Viewers plan what the controller has: whoever may not send is told that this is more.
Failure told_of_missing(Error error, std::size_t count) {
  if (error.code() != ErrorCode::forbidden) return fail(std::move(error));
  return fail(ErrorCode::forbidden,
              fmt::format("the controller does not have {} object{} of this site, and {}", count,
                          count == 1 ? "" : "s", error.message()))
      .hint("a plan of what it has needs no more than a viewer; let a deployer plan this one");
}

}  // namespace

const Option& site_option() {
  static const Option option{"--site", "FILE",
                             "The site file, or the folder of a site.jsonnet or site.json; "
                             "default: the current folder."};
  return option;
}

std::optional<std::string> controller_url(const Arguments& arguments) {
  const auto context = chosen_context(arguments);
  // A context that cannot be read is told by who needs it.
  if (!context) return std::string();
  return *context ? std::optional((*context)->controller) : std::nullopt;
}

namespace {

// In time: afterwards only an admin can help.
void warn_of_end(const Context& context) {
  const auto end = certificate_end(context);
  if (context.name.empty() || !end || !*end) return;
  const Instant now = SystemClock().now();
  if (**end - now > kWarnBeforeEnd || **end <= now) return;
  print_to_stderr(fmt::format("your certificate ends at {}: consort context renew {}\n",
                              format_instant(**end), context.name));
}

}  // namespace

Result<http::Client> controller_client(const Arguments& arguments) {
  const auto context = TRY(chosen_context(arguments));
  if (!context) {
    return fail(ErrorCode::usage, "which controller?")
        .hint(
            "log in: consort login https://…; a controller of your own: consort controller init; a "
            "fleet to try things on: consort lab up --hosts web=2,db=1 --dir lab");
  }
  if (!arguments.json()) warn_of_end(*context);
  return client_of(*context);
}

Result<fs::path> site_file(const Arguments& arguments) {
  const fs::path named = arguments.value("--site");
  std::error_code ec;
  if (!named.empty() && !fs::is_directory(named, ec)) return named;
  for (const std::string_view name : {"site.jsonnet", "site.json"}) {
    if (fs::exists(named / name, ec)) return named / name;
  }
  return fail(ErrorCode::not_found, fmt::format("there is no site.jsonnet {}",
                                                named.empty() ? "here" : "in " + named.string()))
      .hint("name the site with --site FILE, or begin with: consort init");
}

std::string operator_name() {
  std::array<char, 256> host{};
  ::gethostname(host.data(), host.size() - 1);
  const passwd* user = ::getpwuid(::getuid());
  return fmt::format("{}@{}", user != nullptr ? user->pw_name : std::to_string(::getuid()),
                     host.data());
}

fs::path cache_folder() {
  if (const char* xdg = std::getenv("XDG_CACHE_HOME"); xdg != nullptr && *xdg != '\0')
    return fs::path(xdg) / "consort";
  if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0')
    return fs::path(home) / ".cache" / "consort";
  return fs::path("/var/cache/consort");
}

Result<objects::ObjectStore> local_store() {
  TRYV(make_folders(cache_folder(), 0700));
  return objects::ObjectStore::open(cache_folder() / "objects");
}

// Where things run now: hosts of replicated services stay where they are.
Result<fleet::Placement> previous_placement(http::Client* client) {
  fleet::Placement out;
  if (client == nullptr) return out;
  const http::Response response = TRY(client->get("/v1/generations/current"));
  if (response.status == 404) return out;
  const plan::Generation generation = TRY(plan::generation_from_json(TRY(http::json_of(response))));
  for (const auto& [name, service] : generation.services) out.emplace(name, service.hosts);
  return out;
}

Result<Prepared> prepare(const Arguments& arguments, http::Client* client,
                         std::vector<Error>* mistakes, SecretChecks checks, Programs programs) {
  site::Site site = TRY(site::evaluate_static(TRY(site_file(arguments)), {}, mistakes));
  fleet::ResolveOptions options;
  options.before_program = settle_programs(site, arguments, programs);
  if (client != nullptr)
    options.registry = [client](const std::string& selector) {
      return ask_registry(*client, selector);
    };
  fleet::Fleet fleet = TRY(fleet::resolve(site, options));
  fleet::Placement placement = TRY(fleet::place(site, fleet, TRY(previous_placement(client))));
  TRYV(site::evaluate_bodies(site, fleet::endpoint_table(site, fleet, placement)));
  objects::ObjectStore store = TRY(local_store());
  // A service that nobody asks for may be broken: it does not stop the others.
  const std::vector<std::string> only = arguments.values("--only");
  const bool leave_out = arguments.has("--keep-going") || !only.empty() || mistakes != nullptr;
  const plan::ManifestCheck check = [&](const plan::Manifest& manifest,
                                        const std::vector<std::string>& hosts) {
    return mistakes_on_host(manifest, hosts.empty() ? nullptr : &fleet.hosts.at(hosts.front()));
  };
  std::optional<KnownSecrets> secrets;
  plan::SecretLookup lookup;
  if (client != nullptr && checks == SecretChecks::asked) {
    secrets.emplace(*client);
    lookup = [&secrets](const std::string& name) { return secrets->find(name); };
  }
  plan::Compiled compiled = TRY(
      plan::compile(site, fleet, placement, store,
                    leave_out ? plan::OnBroken::leave_out : plan::OnBroken::refuse, check, lookup));
  for (const std::string& name : only) {
    if (const auto broken = compiled.broken.find(name); broken != compiled.broken.end())
      return fail(broken->second);
  }
  return Prepared{std::move(site), std::move(fleet), std::move(placement), std::move(compiled),
                  std::move(store)};
}

Result<UploadReport> upload(http::Client& client, const Prepared& prepared, Upload what) {
  std::set<Digest> wanted;
  for (const auto& [digest, manifest] : prepared.compiled.manifests) {
    if (what == Upload::manifests) {
      wanted.insert(digest);
    } else {
      for (const Digest& object : TRY(plan::manifest_closure(prepared.store, digest)))
        wanted.insert(object);
    }
  }
  UploadReport report;
  const std::vector<Digest> all(wanted.begin(), wanted.end());
  for (std::size_t begin = 0; begin < all.size(); begin += 10'000) {
    Json list = Json::array();
    for (std::size_t i = begin; i < std::min(all.size(), begin + 10'000); ++i)
      list.push_back(all[i].str());
    const Json answer =
        TRY(client.send_json("POST", "/v1/objects/missing", Json::object({{"digests", list}})));
    const Json* missing = answer.find("missing");
    if (missing == nullptr || !missing->is_array())
      return fail(ErrorCode::internal, "the controller's answer names no missing objects");
    LiveBlock block;
    std::size_t sent = 0;
    for (const Json& item : missing->as_array()) {
      if (block.live())
        block.draw({fmt::format("sending objects: {} of {}", ++sent, missing->as_array().size())});
      const Digest digest = TRY(Digest::parse(item.as_string()));
      if (auto status = send_object(client, prepared.store, digest, report); !status)
        return told_of_missing(std::move(status).error(), missing->as_array().size());
    }
  }
  return report;
}

Status download(http::Client& client, const objects::ObjectStore& store, const Digest& digest) {
  if (store.has(digest)) return {};
  std::uint64_t offset = TRY(store.partial_size(digest));
  while (true) {
    const http::Response response = TRY(client.request(
        "GET", "/v1/objects/" + digest.str(), {{"Range", fmt::format("bytes={}-", offset)}}));
    if (!response.ok()) return fail(http::error_of(response));
    TRYV(store.append_partial(digest, offset, response.body));
    offset += response.body.size();
    const std::string range(response.headers.get("Content-Range").value_or(""));
    const std::size_t slash = range.find('/');
    std::uint64_t total = 0;
    if (slash != std::string::npos)
      std::from_chars(range.data() + slash + 1, range.data() + range.size(), total);
    if (response.status == 200 || response.body.empty() || offset >= total) break;
  }
  return store.complete_partial(digest);
}

std::string url_encode(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '_' || c == '.' || c == '~';
    out += plain ? std::string(1, c)
                 : fmt::format("%{:02X}", static_cast<unsigned>(static_cast<unsigned char>(c)));
  }
  return out;
}

std::vector<std::string> warnings_about(const plan::Generation& generation) {
  std::map<std::string_view, std::string_view> first;
  std::vector<std::string> out;
  for (const auto& [name, host] : generation.hosts) {
    const auto [it, made] = first.try_emplace(host.address, name);
    if (!made)
      out.push_back(fmt::format("{} and {} have one address: {}", it->second, name, host.address));
  }
  return out;
}

void tell_warnings(const plan::Generation& generation) {
  for (const std::string& warning : warnings_about(generation))
    print_to_stderr(fmt::format("{} {}\n", paint_for_stderr(Colour::yellow, "warning:"), warning));
}

}  // namespace consort::cli
