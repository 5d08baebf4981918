// consort check: everything that can be found out about a site without touching a host.
#include <fmt/format.h>

#include "cli/context.h"
#include "cli/rows.h"
#include "cli/terminal.h"

namespace consort::cli {
namespace {

Result<int> run(const Arguments& arguments) {
  std::optional<http::Client> client;
  if (controller_url(arguments)) client.emplace(TRY(controller_client(arguments)));
  const Prepared prepared = TRY(prepare(arguments, client ? &*client : nullptr));
  const plan::Generation& generation = prepared.compiled.generation;
  TRY(plan::service_levels(generation.services));
  TRYV(plan::check_claims(generation, prepared.compiled.manifests));
  if (arguments.json()) {
    Json broken = Json::object();
    for (const auto& [name, error] : prepared.compiled.broken) broken[name] = error_to_json(error);
    print(Json::object({{"site", generation.site},
                        {"hosts", generation.hosts.size()},
                        {"services", generation.services.size()},
                        {"broken", broken},
                        {"sources", generation.sources.str()}})
              .dump() +
          "\n");
    return prepared.compiled.broken.empty() ? kOk : kPartial;
  }
  for (const auto& [name, error] : prepared.compiled.broken) print_to_stderr(render_error(error));
  std::size_t instances = 0;
  for (const auto& [name, service] : generation.services) instances += service.hosts.size();
  print(fmt::format("{} {}: {} host classes, {} hosts, {} services, {} instances\n",
                    paint(prepared.compiled.broken.empty() ? Colour::green : Colour::yellow,
                          prepared.compiled.broken.empty() ? "ok" : "broken services"),
                    generation.site, generation.classes.size(), generation.hosts.size(),
                    generation.services.size(), instances));
  return prepared.compiled.broken.empty() ? kOk : kPartial;
}

}  // namespace

Command check_command() {
  return {"check",
          "Check a site: evaluate it, ask its inventories, compile every service.",
          "Touches no host and no controller (unless an inventory asks its registry).",
          {},
          {site_option(),
           {"--keep-going", "", "Report broken services, and check the others all the same."}},
          run,
          false,
          false,
          "consort check --site shop/site.jsonnet"};
}

}  // namespace consort::cli
