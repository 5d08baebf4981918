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

// The sources of secrets, whose fields have been checked. Errors: invalid_input.
[[nodiscard]] Status take_secrets(Site& site, const Json* secrets);
// What is wrong with their files: missing, outside of the site's folder, no sealed text.
[[nodiscard]] std::vector<Error> secret_file_mistakes(const Site& site);

}  // namespace consort::site
