// Which partition a controller is of, and whether what an operator signs is for it. Somebody who
// rehearses a site in a lab must not make signatures that are good for another partition.
#pragma once

#include <optional>
#include <string>

#include "cli/credentials.h"
#include "http/client.h"
#include "signing/trust_list.h"

namespace consort::cli {

// As the controller says; "" of one without an authority (--insecure), which is of none. Errors as
// the client's.
[[nodiscard]] Result<std::string> controller_partition(http::Client& client);
// Of the context's controller: its certificate says it; with a token the controller is asked.
// nullopt: the context has no credential, or the controller is of none. Errors as above.
[[nodiscard]] Result<std::optional<std::string>> partition_of(const Context& context);
// Whether the list is for the controller's partition; "" is none, which fits any list. Error
// refused, naming both.
[[nodiscard]] Status check_partition(const signing::TrustList& list, const std::string& partition);

}  // namespace consort::cli
