// consort controller: the controller process.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "cli/credentials.h"
#include "cli/rows.h"
#include "cli/terminal.h"
#include "controller/init.h"
#include "controller/server.h"
#include "http/url.h"

namespace consort::cli {
namespace {

Result<int> run(const Arguments& arguments) {
  controller::ServerOptions options;
  options.data = arguments.value("--data");
  if (options.data.empty())
    return fail(ErrorCode::usage, "where does the controller keep its state?")
        .hint("say --data DIR, for example --data /var/lib/consort/controller");
  options.listen = arguments.values("--listen");
  if (options.listen.empty()) options.listen = {"127.0.0.1:8440"};
  options.insecure = arguments.has("--insecure");
  options.unlock = arguments.value("--unlock");
  options.port_file = arguments.value("--url-file");
  TRYV(controller::run_controller(options));
  return kOk;
}

// A name is taken as it is, an address as one.
crypto::ExtraNames names_of(const Arguments& arguments) {
  crypto::ExtraNames out;
  std::vector<std::string> given = arguments.values("--address");
  if (given.empty()) given = {"127.0.0.1", "localhost"};
  for (const std::string& name : given) {
    const bool is_address = name.find(':') != std::string::npos ||
                            name.find_first_not_of("0123456789.") == std::string::npos;
    (is_address ? out.ips : out.dns).push_back(name);
  }
  return out;
}

// Where a credential goes must be known before there is something to lose.
Status check_context(const Context& context, const std::string& file, const std::string& admin) {
  if (file.empty()) return check_replaceable(context, admin, "--context-name");
  std::error_code ec;
  if (!fs::exists(fs::symlink_status(file, ec))) return {};
  return fail(ErrorCode::conflict, fmt::format("{} is there already", file))
      .hint("name another --context-file, or remove it if nobody needs it any more");
}

void fill_in(Context& context, const controller::Initialised& made) {
  context.authority_pem = made.authority_pem;
  context.certificate_pem = made.certificate_pem;
  context.key_pem = made.key_pem;
}

Status keep_context(const Context& context, const std::string& file) {
  if (!file.empty()) return save_context(context, file);
  TRYV(save_context(context));
  return use_context(context.name);
}

// Where the controller listens so that its URL leads there: everywhere, or on loopback when its
// certificate is for nothing else.
Result<std::string> listen_address(const std::string& url, const crypto::ExtraNames& names) {
  const http::HostPort at = TRY(http::parse_url(url)).at;
  const bool local = std::all_of(names.ips.begin(), names.ips.end(), http::is_loopback) &&
                     std::all_of(names.dns.begin(), names.dns.end(), http::is_loopback);
  if (at.host.find(':') != std::string::npos)
    return fmt::format("[{}]:{}", local ? at.host : "::", at.port);
  if (!local) return fmt::format("0.0.0.0:{}", at.port);
  return fmt::format("{}:{}",
                     http::is_loopback(at.host) && at.host != "localhost" ? at.host : "127.0.0.1",
                     at.port);
}

std::string default_url(const crypto::ExtraNames& names) {
  const std::string& host = names.ips.empty() ? names.dns.front() : names.ips.front();
  if (host.find(':') != std::string::npos) return fmt::format("https://[{}]:8440", host);
  return fmt::format("https://{}:8440", host);
}

Result<int> run_init(const Arguments& arguments) {
  const fs::path data = arguments.value("--data");
  if (data.empty())
    return fail(ErrorCode::usage, "where does the controller keep its state?")
        .hint("say --data DIR, for example --data /var/lib/consort-controller");
  controller::AuthorityOptions options;
  options.partition = arguments.value("--partition", "main");
  options.names = names_of(arguments);
  std::array<char, 256> host{};
  ::gethostname(host.data(), host.size() - 1);
  options.controller = arguments.value("--name", host.data());
  options.unlock = arguments.value("--unlock");
  options.chain = arguments.value("--authority-certificate");
  options.key = arguments.value("--authority-key");
  const std::string url = arguments.value("--url", default_url(options.names));
  const std::string listen = TRY(listen_address(url, options.names));
  const std::string admin = arguments.value("--admin", "admin");
  const SystemClock clock;
  if (arguments.has("--new-authority")) options.succession = controller::Succession::replaces_lost;
  TRYV(controller::check_initialisable(data, options, clock));
  const std::string file = arguments.value("--context-file");
  Context context;
  context.name = arguments.value("--context-name", options.partition);
  context.controller = url;
  TRYV(check_context(context, file, admin));
  const controller::Initialised made =
      TRY(controller::initialise_controller(data, options, admin, clock));
  fill_in(context, made);
  TRYV(keep_context(context, file));
  if (arguments.json()) {
    print(Json::object({{"partition", options.partition},
                        {"fingerprint", made.fingerprint},
                        {"admin", admin},
                        {"context", file.empty() ? context.name : file},
                        {"controller", url}})
              .dump() +
          "\n");
    return kOk;
  }
  print(fmt::format(
      "the authority of partition {} is made: {}\n"
      "{} may do everything; the credential is in the context {}, for {}\n\n"
      "next:\n"
      "{}"
      "  consort controller --data {}{} --listen {}\n"
      "  consort token create --uses 3     # for machines: consort agent --join-file FILE\n"
      "  consort operator create NAME --role deployer --service '*'\n",
      options.partition, made.fingerprint, admin, file.empty() ? context.name : file, url,
      file.empty() ? "" : fmt::format("  export CONSORT_CONTEXT={}\n", fs::absolute(file).string()),
      data.string(), options.unlock.empty() ? "" : " --unlock " + options.unlock.string(), listen));
  if (options.unlock.empty())
    print(
        fmt::format("\nThe authority's key is encrypted; its passphrase is beside it, in {}. Who "
                    "copies the whole folder has both: keep the passphrase elsewhere with "
                    "--unlock FILE.\n",
                    (data / "authority/unlock").string()));
  return kOk;
}

Result<int> run_admin(const Arguments& arguments) {
  const fs::path data = arguments.value("--data");
  if (data.empty())
    return fail(ErrorCode::usage, "where does the controller keep its state?")
        .hint("say --data DIR, for example --data /var/lib/consort-controller");
  const std::string admin = arguments.value("--admin", "admin");
  const std::string file = arguments.value("--context-file");
  const SystemClock clock;
  const auto folder = TRY(controller::AuthorityFolder::open(data, arguments.value("--unlock")));
  Context context;
  context.name = arguments.value("--context-name", folder.partition());
  context.controller = arguments.value("--url", "https://127.0.0.1:8440");
  context.authority_pem = folder.trust_pem();
  TRYV(check_context(context, file, admin));
  auto made = controller::recover_admin(data, arguments.value("--unlock"), admin, clock);
  if (!made && made.error().code() == ErrorCode::locked)
    return fail(ErrorCode::locked, made.error().message())
        .hint("stop the controller first; it can start again afterwards");
  if (!made) return fail(std::move(made).error());
  fill_in(context, *made);
  TRYV(keep_context(context, file));
  const std::string where = file.empty() ? context.name : file;
  print(arguments.json()
            ? Json::object({{"partition", folder.partition()},
                            {"fingerprint", made->fingerprint},
                            {"admin", admin},
                            {"context", where},
                            {"controller", context.controller}})
                      .dump() +
                  "\n"
            : fmt::format("{} may do everything; the credential is in the context {}, for {}\n",
                          admin, where, context.controller));
  return kOk;
}

}  // namespace

Command controller_admin_command() {
  return {
      "controller admin",
      "Make a new credential for an admin, on the controller's machine.",
      "For who has lost theirs, or let it expire. The controller must not run meanwhile; the "
      "audit log tells of it. Credentials of before stay: consort operator list.",
      {},
      {{"--data", "DIR", "The controller's folder."},
       {"--admin", "NAME", "Who; made when there is none of that name; default admin."},
       {"--url", "URL", "What the context calls; default https://127.0.0.1:8440."},
       {"--context-name", "NAME",
        "What to call the context; default the partition's name. Nobody else's credential is "
        "replaced."},
       {"--context-file", "FILE", "Where the credential goes, instead of the contexts."},
       {"--unlock", "FILE",
        "The passphrase of the authority's key; default DIR/authority/unlock."}},
      run_admin,
      false,
      false,
      "consort controller admin --data /var/lib/consort-controller --url https://10.0.0.1:8440"};
}

Command controller_init_command() {
  return {
      "controller init",
      "Make the authority of a new controller and its first admin, once.",
      "Hosts, operators and the controller know each other by certificates of this authority. Its "
      "key is encrypted on disk. The first admin's certificate goes to this person's contexts "
      "(mode 0600). If it is ended halfway, say it again. A key that is there is never replaced.",
      {},
      {{"--data", "DIR", "The controller's folder."},
       {"--partition", "NAME", "Which part of the world it is for; default main."},
       {"--name", "NAME", "The controller's name; default the host name."},
       {"--address", "ADDRESS",
        "A name or address under which it is reached; may be repeated; default 127.0.0.1 and "
        "localhost.",
        true},
       {"--url", "URL", "What the admin's context calls; default https://ADDRESS:8440."},
       {"--admin", "NAME", "The first admin; default admin."},
       {"--context-name", "NAME",
        "What to call the admin's context; default the partition's name. One that is there is not "
        "replaced."},
       {"--context-file", "FILE", "Where the admin's credential goes, instead of the contexts."},
       {"--unlock", "FILE", "The passphrase of the authority's key, kept by you."},
       {"--authority-certificate", "FILE",
        "An intermediate of your own authority (PEM, with its chain), in place of a new root."},
       {"--authority-key", "FILE", "Its key (PEM)."},
       {"--new-authority", "",
        "In place of one that is lost, though hosts and operators are known: they join anew."}},
      run_init,
      false,
      false,
      "consort controller init --data /var/lib/consort-controller --address 10.0.0.1"};
}

Command controller_command() {
  return {
      "controller",
      "Run a controller.",
      "State is in --data (SQLite and objects). Stops on SIGTERM; after any end it goes on where "
      "it was. It needs an authority: consort controller init.",
      {},
      {{"--data", "DIR", "Its folder."},
       {"--listen", "ADDRESS", "Where it listens; default 127.0.0.1:8440. May be repeated.", true},
       {"--unlock", "FILE", "The passphrase of the authority's key; default DIR/authority/unlock."},
       {"--insecure", "", "No TLS, and no questions asked: on loopback, to try things."},
       {"--url-file", "FILE", "Write the URL here once it listens (port 0 takes any free port)."}},
      run,
      false,
      false,
      "consort controller --data /var/lib/consort/controller"};
}

}  // namespace consort::cli
