// Configuration: tollgate.yaml against its schema, proto/tollgate/v1/config.proto, which is also its documentation.
//
// What is loaded is complete: every field that has a default is set, every bound is held, every file that is named exists. A file that is
// not so is INVALID_ARGUMENT (a file that cannot be read: NOT_FOUND), one line a problem, each as `file:line:column: what is wrong; what to
// do`.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"
#include "tollgate/v1/config.pb.h"

namespace tollgate::config {

// Which of the files that it names are looked at: all, or the databases' URLs alone, for a machine that has no models and secrets.
enum class Files { kAll, kDatabaseUrls };

// Reads and checks the file at `path`. Relative paths in it count from its folder and come back joined to it; `file:PATH` and `env:NAME`
// in place of a database URL are read.
absl::StatusOr<tollgate::v1::Config> Load(const std::string& path, Files files = Files::kAll);

// The same for text that is already here. `name` stands for the file in messages; `folder` is what relative paths count from.
absl::StatusOr<tollgate::v1::Config> Parse(std::string_view yaml, const std::string& name, const std::string& folder,
                                           Files files = Files::kAll);

// Every default set, nothing else: where code starts that makes its own configuration.
tollgate::v1::Config Defaults();

// Sets the defaults of fields that are absent, in `config` and everything in it. Lists keep their length.
void FillDefaults(tollgate::v1::Config& config);

// `config` with "(hidden)" wherever a password may stand: what may be shown of it, in whatever form.
tollgate::v1::Config Redacted(tollgate::v1::Config config);

// The configuration in force as YAML, for people: secrets masked, each field's default noted where the value differs from it.
std::string Dump(const tollgate::v1::Config& config);

// A commented tollgate.yaml to start from: required fields with sample values, the others commented out at their defaults.
std::string Example();

// What one field ("listeners.grpc.port", "pool.models.slots") or section means. NOT_FOUND names the nearest ones.
absl::StatusOr<std::string> Explain(std::string_view field);

// The reference part of docs/configuration.md.
std::string ReferenceMarkdown();

}  // namespace tollgate::config
