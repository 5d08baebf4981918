// With --insecure nobody shows a credential, and browsers on this machine reach the port as well as
// `consort` does: what a page of somebody else sends is told by its head. Pure.
#pragma once

#include "base/error.h"
#include "http/message.h"

namespace consort::controller {

// Error forbidden: the Host is no name of this machine (a name of theirs that points here, "DNS
// rebinding"), or the Origin or Sec-Fetch-Site is another than the server itself (a form, script or
// image of another site).
[[nodiscard]] Status check_no_foreign_page(const http::Headers& headers);

}  // namespace consort::controller
