// consort init: a small site that works, to begin with.
#include <fmt/format.h>

#include "base/files.h"
#include "base/json.h"
#include "cli/rows.h"
#include "cli/terminal.h"

namespace consort::cli {
namespace {

constexpr std::string_view kSite = R"(local c = import 'consort.libsonnet';

c.site('{name}') {
  hostClasses: {
    web: { inventory: c.inventory.file('hosts.yaml'), purpose: 'greets visitors' },
  },

  services: {
    hello: c.service {
      purpose: 'says hello, to show that everything works',
      on: 'web',
      provides: { http: { port: 8000 } },
      resources: {
        page: c.file('${service.data}/index.html', 'hello from ${host.name}\n') { mode: '0644' },
      },
      daemon: c.daemon(['/usr/bin/python3', '-m', 'http.server', '8000', '--bind', '${host.address}', '--directory', '${service.data}']) {
        readiness: c.httpGet('/', 8000),
      },
    },
  },

  policy: { maxUnavailable: 1, batches: [1, '100%'], onFailure: 'revert' },
}
)";

constexpr std::string_view kHosts =
    R"(# The hosts of each class. A fleet to try things on, with its own hosts.yaml: consort lab up --hosts web=2 --dir lab
groups:
  web:
    hosts:
      web1: { address: 127.0.0.1, labels: { datacenter: dc1 } }
)";

Result<int> run(const Arguments& arguments) {
  const fs::path folder = arguments.word(0, ".");
  TRYV(make_folders(folder));
  std::error_code ec;
  for (const std::string_view file : {"site.jsonnet", "hosts.yaml"}) {
    if (fs::exists(folder / file, ec))
      return fail(ErrorCode::conflict, fmt::format("{} is there already", (folder / file).string()))
          .hint("choose another folder: consort init FOLDER");
  }
  std::string name = fs::absolute(folder, ec).lexically_normal().filename().string();
  if (name.empty())
    name = fs::absolute(folder, ec).lexically_normal().parent_path().filename().string();
  std::string site(kSite);
  site.replace(site.find("{name}"), 6, name.empty() ? "mysite" : name);
  TRYV(write_file_atomic(folder / "site.jsonnet", site));
  TRYV(write_file_atomic(folder / "hosts.yaml", kHosts));
  if (arguments.json()) {
    print(Json::object({{"files", Json::Array{(folder / "site.jsonnet").string(),
                                              (folder / "hosts.yaml").string()}}})
              .dump() +
          "\n");
  } else {
    print(fmt::format("wrote {} and {}\nnext: consort check --site {}\n",
                      (folder / "site.jsonnet").string(), (folder / "hosts.yaml").string(),
                      (folder / "site.jsonnet").string()));
  }
  return kOk;
}

}  // namespace

Command init_command() {
  return {"init",
          "Write a small site to begin with.",
          "",
          {{"FOLDER", "Where; default here.", Positional::Count::optional}},
          {},
          run,
          false,
          false,
          "consort init mysite"};
}

}  // namespace consort::cli
