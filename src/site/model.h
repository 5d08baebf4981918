// From what the two evaluations give to the Site, with the checks of each entry. Internal to this
// room.
#pragma once

#include <string>
#include <vector>

#include "site/site.h"

namespace consort::site {

// `part` is { top, fields, hostClasses: [{ name, static, fields }], services: [the same] }. What is
// wrong with one class or service does not hide what is wrong with the others: all goes to
// `mistakes`, and the site is whole only when there are none.
[[nodiscard]] Site site_of(const Json& part, std::vector<Error>& mistakes);

// Fills in what the second evaluation gave for a service. Errors: invalid_input.
[[nodiscard]] Status take_body(Service& service, const Json& body, const std::string& place);

}  // namespace consort::site
