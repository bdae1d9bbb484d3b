// The words about the schema: each field has some, the example is a file that loads, docs/configuration.md holds what the schema says.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <regex>
#include <string>
#include <vector>

#include <unistd.h>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "base/encoding.h"
#include "gateway/config/config.h"
#include "gateway/config/schema.h"

using namespace tollgate;
using Catch::Matchers::ContainsSubstring;

TEST_CASE("Every field says what it is for, its default and its bounds") {
  for (const config::Entry& entry : config::AllFields()) {
    INFO(entry.path);
    const v1::Setting& setting = config::SettingOf(*entry.field);
    CHECK(setting.about().ends_with("."));
    const auto type = entry.field->cpp_type();
    const bool number = type == config::Field::CPPTYPE_INT32 || type == config::Field::CPPTYPE_INT64;
    if (number) CHECK((setting.has_min() && setting.has_max()));
    if (type != config::Field::CPPTYPE_MESSAGE && type != config::Field::CPPTYPE_STRING) {
      const bool says = !config::DefaultOf(*entry.field, entry.path).empty() || setting.required();
      CHECK(says);
    }
    if (entry.path.ends_with("timeout")) FAIL("a time needs its unit in the name");
  }
}

TEST_CASE("The example loads once its files exist") {
  std::string folder = (std::filesystem::temp_directory_path() / "tg-example-XXXXXX").string();
  REQUIRE(::mkdtemp(folder.data()) != nullptr);
  std::string yaml = config::Example();
  for (const char* name : {"postgres_url", "keys_url"}) REQUIRE(base::WriteFileAtomically(folder + "/" + name, "host=/tmp", 0600).ok());
  for (const char* name : {"root_key", "pepper"}) REQUIRE(base::WriteFileAtomically(folder + "/" + name, std::string(64, 'a'), 0600).ok());
  REQUIRE(base::WriteFileAtomically(folder + "/SmolLM2-135M-Instruct.Q4_1.gguf", "x", 0600).ok());
  for (const std::string from : {"/etc/tollgate", "/var/lib/tollgate/models"}) {
    for (std::size_t at = 0; (at = yaml.find(from, at)) != std::string::npos;) yaml.replace(at, from.size(), folder);
  }
  const auto config = config::Parse(yaml, "example.yaml", "/");
  INFO(yaml);
  INFO(config.status().ToString());
  CHECK(config.ok());
  std::filesystem::remove_all(folder);
}

TEST_CASE("The dump of a configuration can be read again") {
  v1::Config config = config::Defaults();
  config.mutable_postgres()->set_url("x");
  config.mutable_pool()->add_models()->set_name("m");
  config::FillDefaults(config);
  config.set_segment_ms(50);
  const std::string dump = config::Dump(config);
  CHECK_THAT(dump, ContainsSubstring("segment_ms: 50  # default 100"));
  CHECK_THAT(dump, ContainsSubstring("    - name: m\n"));
  CHECK_THAT(dump, ContainsSubstring("url: \"(hidden)\""));
}

TEST_CASE("Explain knows fields and sections, and guesses at slips") {
  CHECK_THAT(config::Explain("listeners.grpc.port").value(), ContainsSubstring("whole number, 0 to 65535; default 8081"));
  CHECK_THAT(config::Explain("pool").value(), ContainsSubstring("pool.models.slots"));
  CHECK_THAT(config::Explain("").value(), ContainsSubstring("postgres"));
  CHECK_THAT(base::Message(config::Explain("slots").status()), ContainsSubstring("did you mean pool.models.slots?"));
  CHECK_THAT(base::Message(config::Explain("segment_m").status()), ContainsSubstring("did you mean segment_ms?"));
}

TEST_CASE("docs/configuration.md holds the reference that the schema makes") {
  const auto page = base::ReadFile(std::string(TOLLGATE_SOURCE_DIR) + "/docs/configuration.md");
  REQUIRE(page.ok());
  const std::string marker = "<!-- reference: made by `tollgate config reference` -->\n";
  const std::size_t at = page->find(marker);
  REQUIRE(at != std::string::npos);
  const std::string wanted = config::ReferenceMarkdown();
  const bool same = page->substr(at + marker.size()) == wanted;
  if (!same) {
    const std::string path = std::string(TOLLGATE_BINARY_DIR) + "/configuration.md";
    REQUIRE(base::WriteFileAtomically(path, page->substr(0, at + marker.size()) + wanted, 0644).ok());
    WARN("review " << path << " and copy it to docs/configuration.md");
  }
  CHECK(same);
}

TEST_CASE("A message that says to set a field names one that there is") {
  std::vector<std::string> fields;
  for (const config::Entry& entry : config::AllFields()) fields.push_back("." + entry.path);
  const std::regex told("\"[^\"]*\\bset ([a-z_]+(\\.[a-z_]+)+)");
  int found = 0;
  for (const char* room : {"inference", "gateway"}) {
    for (const auto& file : std::filesystem::recursive_directory_iterator(std::string(TOLLGATE_SOURCE_DIR) + "/" + room)) {
      if (file.path().extension() != ".cpp") continue;
      std::ifstream in(file.path());
      for (std::string line; std::getline(in, line);) {
        std::smatch words;
        if (!std::regex_search(line, words, told)) continue;
        ++found;
        INFO(file.path().string() << ": set " << words[1].str());
        CHECK(std::any_of(fields.begin(), fields.end(), [&](const std::string& field) { return field.ends_with("." + words[1].str()); }));
      }
    }
  }
  CHECK(found > 0);
}
