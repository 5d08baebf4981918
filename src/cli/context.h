// What most commands begin with: the controller's client, the site, the compiled candidate.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "cli/command.h"
#include "cli/programs.h"
#include "fleet/fleet.h"
#include "http/client.h"
#include "objects/store.h"
#include "plan/compile.h"
#include "site/site.h"

namespace consort::cli {

// Of the chosen context (credentials.h); nullopt when nothing names a controller.
[[nodiscard]] std::optional<std::string> controller_url(const Arguments& arguments);
// Error usage when no controller is named.
[[nodiscard]] Result<http::Client> controller_client(const Arguments& arguments);

// --site (a file, or a folder with one of the two that follow), or ./site.jsonnet, or ./site.json.
// Error not_found with the remedy.
[[nodiscard]] Result<fs::path> site_file(const Arguments& arguments);

// "name@machine", for the record.
[[nodiscard]] std::string operator_name();

// A site on its fleet, compiled into the local object cache.
struct Prepared {
  site::Site site;
  fleet::Fleet fleet;
  fleet::Placement placement;
  plan::Compiled compiled;
  objects::ObjectStore store;
};
// `client` may be null: then nothing is known of the past and registry inventories fail.
// Of the options: --site, --keep-going, --no-exec, --exec (programs.h). Services that a host would
// refuse are broken ones. With `mistakes`, broken services are left out in any case, and where
// there is no site to prepare it gets all that was found, beyond the first mistake which is
// returned. With a client, what the site says of secrets is checked by what the controller has,
// unless they are `unasked`: who sets them wants to know who uses them.
enum class SecretChecks : std::uint8_t { asked, unasked };
[[nodiscard]] Result<Prepared> prepare(const Arguments& arguments, http::Client* client,
                                       std::vector<Error>* mistakes = nullptr,
                                       SecretChecks secrets = SecretChecks::asked,
                                       Programs programs = Programs::run);
// Where things run now, by the current generation; empty before the first.
[[nodiscard]] Result<fleet::Placement> previous_placement(http::Client* client);

// ${XDG_CACHE_HOME:-~/.cache}/consort
[[nodiscard]] fs::path cache_folder();
[[nodiscard]] Result<objects::ObjectStore> local_store();

enum class Upload : std::uint8_t { manifests, everything };
struct UploadReport {
  std::size_t objects = 0;
  std::uint64_t bytes = 0;
};
// Sends what the controller does not have yet; long objects in pieces, resumed where they broke
// off.
[[nodiscard]] Result<UploadReport> upload(http::Client& client, const Prepared& prepared,
                                          Upload what);
// Gets an object from the controller into the local store, unless it is there.
[[nodiscard]] Status download(http::Client& client, const objects::ObjectStore& store,
                              const Digest& digest);

// Percent-encodes one segment of a path or one value of a query (RFC 3986 unreserved characters
// stay).
[[nodiscard]] std::string url_encode(std::string_view text);

[[nodiscard]] const Option& site_option();

// What is allowed, and most likely not meant.
[[nodiscard]] std::vector<std::string> warnings_about(const plan::Generation& generation);
void tell_warnings(const plan::Generation& generation);

}  // namespace consort::cli
