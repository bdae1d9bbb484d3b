// Secrets as people and programs write them, and what is written so and is none: the body of a private key in every wrapping, keys and
// passwords beside their names, code that only speaks of them. Values are made up, and most are put together here.
#include <map>

#include "tests/policy/catalog_examples.h"
#include "tests/policy/policy_support.h"

namespace tollgate::policy {
namespace {

struct Row {
  std::string kind, text, out;  // `out` empty: nothing is found.
};

void Check(const Row& row) {
  static std::map<std::string, std::shared_ptr<const PolicySet>> policies;
  auto& its = policies[row.kind];
  if (its == nullptr) its = MustCompile(OneRule("{secrets: " + row.kind + "}", "replace", "    replacement: '#'\n"));
  INFO(row.kind << ": " << row.text);
  const Filtered whole = MustFilter(*its, row.text);
  CHECK(whole.text == (row.out.empty() ? row.text : row.out));
  const std::size_t points = std::string_view(row.text).size() > 400 ? 11 : 1;  // All kinds judge each piece.
  CheckStream(*its, row.text, whole, [points] { return points; });
}

// Lines of 64 characters of base64, each behind `before`, with `behind` between.
std::string Body(const std::string& before, const std::string& behind, int lines = 3) {
  std::mt19937_64 random(7);
  std::string out;
  for (int i = 0; i < lines; ++i) out += (i == 0 ? "" : behind + before) + MakeSecret("{S64}", random);
  return out;
}

std::string Pem(const std::string& before, const std::string& behind, const std::string& fields = "", int lines = 3) {
  const std::string edge = behind + before;
  return "-----BEGIN RSA PRIVATE KEY-----" + edge + fields + Body(before, behind, lines) + edge + "c2hvcnQ=" + edge +
         "-----END RSA PRIVATE KEY-----";
}

const std::string kValue = "Zx81kQ0pLm29sTuVw3YbQr7T";

}  // namespace

TEST_CASE("A private key is hidden with all of its body, however it is quoted, and nothing behind it is") {
  const std::string pgp = "-----BEGIN PGP PRIVATE KEY BLOCK-----\nVersion: GnuPG v1.4.11 (GNU/Linux)\nComment: Jürgen's key; old\n\n";
  const std::string putty = "PuTTY-User-Key-File-3: ssh-rsa\nEncryption: none\nComment: rsa-key-20260101\nPublic-Lines: 3\n" +
                            Body("", "\n") + "\nPrivate-Lines: 3\n" + Body("", "\n") +
                            "\nTYpd\nPrivate-MAC: 0a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d";
  const std::string keys[] = {Pem("", "\n"),
                              Pem("", "\r\n"),
                              Pem("", "\\n"),
                              Pem("", "\\\\n"),
                              Pem("", " "),
                              Pem("> ", "\n"),
                              Pem("> > ", "\n"),
                              Pem("# ", "\n"),
                              Pem(" * ", "\n"),
                              Pem("// ", "\n"),
                              Pem("    ", "\n"),
                              Pem("| ", " |\n"),
                              Pem("        \"", "\\n\" +\n"),
                              Pem("  '", "',\n"),
                              Pem("", "<br/>\n"),
                              Pem("", "\n", "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0123456789ABCDEF\n\n"),
                              Pem("", "\\n", "Proc-Type: 4,ENCRYPTED\\nDEK-Info: AES-128-CBC,0123456789ABCDEF\\n\\n"),
                              "-----BEGIN EC PRIVATE KEY-----\n" + Body("", "\n", 1),
                              pgp + Body("", "\n", 20) + "\n=aB3d\n-----END PGP PRIVATE KEY BLOCK-----",
                              putty};
  for (const std::string& key : keys) {
    Check({"all", "Here it is: " + key + ". Then copy the file.", "Here it is: #. Then copy the file."});
    Check({"all", key + "\n\nThen you should copy the file to /etc, (mode 0600).",
           "#\n\nThen you should copy the file to /etc, (mode 0600)."});
  }
  // Longer than the cap, whose tail is swallowed to the line that ends it.
  const auto policies = MustCompile(OneRule("{secrets: private_key_pem}", "redact"));
  for (const int lines : {70, 200, 400}) {
    const std::string text = "a " + Pem("> ", "\n", "", lines) + "\nThen copy it.";
    const Filtered whole = MustFilter(*policies, text);
    CHECK(whole.text.starts_with("a [PRIVATE_KEY]"));
    CHECK(whole.text.ends_with("\nThen copy it."));
    CHECK(whole.text.size() < 80);
    for (const std::size_t points : {7, 100, 5000}) CheckStream(*policies, text, whole, [points = points] { return points; });
  }
}

TEST_CASE("A private key's header alone, in a question, in code or before a placeholder, is none") {
  for (const char* text : {
           R"(What does "-----BEGIN RSA PRIVATE KEY-----" at the start of a file mean?)",
           R"(if text.startswith("-----BEGIN PRIVATE KEY-----"): return True)",
           "The header -----BEGIN OPENSSH PRIVATE KEY----- is followed by base64. Then you should copy the file to another machine.",
           "-----BEGIN PRIVATE KEY-----\nNote: paste it between the lines, as your administrator told you.\n-----END PRIVATE KEY-----",
           "-----BEGIN PRIVATE KEY-----\n<your key>\n-----END PRIVATE KEY-----",
           "-----BEGIN PRIVATE KEY-----\n${PRIVATE_KEY}\n-----END PRIVATE KEY-----",
           "\"-----BEGIN PRIVATE KEY-----\\n\" + privateKeyBody + \"\\n-----END PRIVATE KEY-----\"",
           "-----BEGIN PRIVATE KEY-----\n0000000000000000000000000000000000000000000000000000000000000000\n-----END PRIVATE KEY-----",
           "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA61BjmfXGEvWmegnBGSuS\n-----END PUBLIC KEY-----",
       })
    Check({"all", text, ""});
}

TEST_CASE("A password is found beside its name in configuration, code, data, commands and sentences") {
  const Row rows[] = {
      {"assigned_password", "POSTGRES_PASSWORD: Sup3rS3cret!", "POSTGRES_#"},
      {"assigned_password", R"({"password": "Tr0ub4dor&3", "user": "app"})", R"({"#", "user": "app"})"},
      {"assigned_password", "spring.datasource.password=Winter2026!\nspring.x=1", "spring.datasource.#\nspring.x=1"},
      {"assigned_password", "pwd=Winter2026! PGPASSWORD=Winter2026! DB_PASS=Winter2026! db-pw: Winter2026!", "# PG# DB# db#"},
      {"assigned_password", "mysql --password S3cretpw1 --db-password=S3cretpw1 -h x", "mysql # --db-# -h x"},
      {"assigned_password", "<password>Winter2026!</password>", "<#</password>"},
      {"assigned_password", R"(<add key="Password" value="Winter2026!"/>)", R"(<add key="#"/>)"},
      {"assigned_password", "- name: DB_PASSWORD\n  value: Winter2026!\n- name: x", "- name: DB_#\n- name: x"},
      {"assigned_password", "jdbc:postgresql://db/x?user=app&password=S3cretpw1&ssl=true", "jdbc:postgresql://db/x?user=app&#&ssl=true"},
      {"assigned_password", "password=1M1p9unB56!9abdqK5Ft6", "#"},
      {"assigned_password", "Passwort: Winter2026!, Benutzer: app", "#, Benutzer: app"},
      {"assigned_password", "mot de passe : Hiver2026! Contraseña: Invierno26 пароль: Zima2026! 密码：Winter2026!", "# # # #"},
      {"assigned_password", "Password:\nhunter22\nThanks", "#\nThanks"},
      {"assigned_password", "**Password:** Winter2026!", "**#"},
      {"assigned_password", "connect(user=\"app\", password='p@ssword!x')", "connect(user=\"app\", #')"},
      {"assigned_password", "const password: string = \"Winter2026!\"; password := `Winter2026!`", "const #\"; #`"},
      {"assigned_password", "define('DB_PASSWORD', 'Winter2026!'); os.environ[\"DB_PASSWORD\"] = \"Winter2026!\"",
       "define('DB_#'); os.environ[\"DB_#\""},
      {"assigned_password", "password: hunter2, then password: required,password=Winter2026!", "#, then password: required,#"},
      {"assigned_password", "your temporary password is Xy7!kQ29.", "your temporary #."},
      {"assigned_password", "I cannot log in, my password is: hunter22 and it worked before.",
       "I cannot log in, my # and it worked before."},
      {"assigned_password", "The password for root is hunter22, and the password for the root user is \"hunter22\".",
       "The #, and the #\"."},
  };
  for (const Row& row : rows) Check(row);
}

TEST_CASE("What stands beside the word password and is none is left alone") {
  for (const char* text : {
           "The password is base64-encoded. Our password is pbkdf2 derived, the root password is ${ROOT_PW1}.",
           "The password is required, the login password is too short, the password was changed 2026-11-25.",
           "Password: required! Password: 8-20 characters, password: min. 12 characters, password is 12-digit, password is v1.2.3-beta",
           "password = random_password.db_password_1.result; password = var.db_password_1",
           "password: module.rds_1.password, password = cfg.pw2, password=self.password1, password = password1",
           "password = get_password1(user) or os.environ[\"DB_PASSWORD1\"] or request.form['password1']",
           "password=process.env.DB_PASSWORD1, password: ${{ secrets.DB_PASSWORD1 }}, password: {{ vault.db_password1 }}",
           "password = $DB_PASSWORD1 PASSWORD=%DB_PASSWORD1% password=%(password1)s PASSWORD=$(cat /run/pw1) x='{password1}'",
           "password: <PASSWORD1> password: ******** password: ********1 password=\"\u2022\u2022\u2022\u2022\u2022\u20221\" password: "
           "[FILTERED]",
           "password: /run/secrets/db1_password password: ./secrets/db1.txt password: https://vault.example/v1/db1",
           "WHERE password = @Password1 AND password = :password1 OR password = ?",
           "password: my-db-secret-name-1 password: \"app-password-production-eu-1\"",
           "'password' => 'required|min:8|confirmed', \"password\": \"string\", password: str = None",
           "password: changeme123 password: your_password_1 password: dummy123 password: jane.doe@example.com",
           "PASSWORD_MIN_LENGTH=12 password_reset_url=/reset1 password.length >= 8 <input type=\"password\" id=\"pw1\">",
           "The password field comes first; what makes a good password? Use 12 characters: letters, digits1.",
       }) {
    Check({"assigned_password", text, ""});
  }
}

TEST_CASE("Passwords with the marks of templates are found in commands, connection strings and URLs, and templates are not") {
  const Row rows[] = {
      {"curl_user_password", "curl -u admin:Pa$$w0rd1 https://x.example", "curl # https://x.example"},
      {"curl_user_password", "curl -uadmin:hunter22 https://x.example", "curl # https://x.example"},
      {"curl_user_password",
       "curl -X POST https://api.example/v1/things -H 'Content-Type: application/json' -d '{\"a\": 1}' -u admin:hunter22",
       "curl -X POST https://api.example/v1/things -H 'Content-Type: application/json' -d '{\"a\": 1}' #"},
      {"connection_string_password", "Server=db;User Id=sa;Password=P@$$w0rd;", "Server=db;User Id=sa#;"},
      {"connection_string_password", "Password=sesame;Server=db;User Id=sa", "#;Server=db;User Id=sa"},
      {"connection_string_password", "Server=db; Password = sesame; x=1", "Server=db#; x=1"},
      {"connection_string_password", "Server=db;Password=\"sesame\";x=1", "Server=db#\";x=1"},
      {"connection_string_password", "jdbc:sqlserver://db;user=sa;password=sesame;", "jdbc:sqlserver://db;user=sa#;"},
      {"url_credentials", "mongodb+srv://user:p@ssw0rd@cluster0.x.example/a", "#/a"},
      {"url_credentials", "postgres://app:S3cr#t!pw@db/x POSTGRES://app:S3cretpw1@db/x", "#/x #/x"},
      {"url_credentials", "https://jane@acme.example:pa$$word@mail.example/", "#/"},
      {"netrc_password", "machine api.example login jane password Pa$$w0rd1", "#"},
      {"netrc_password", "machine api.example\n    login jane\n    password sesame\n", "#\n"},
      {"all", "curl -u \"$USER:$PASSWORD\" https://x; curl -u admin:${PW1} https://x; curl -u admin:%PW1% https://x", ""},
      {"all", "docker run -u 1000:1000 x; git push -u origin main:main; ps -u app:app; docker run --user node:node x", ""},
      {"all", "Server=db;Password=${DB_PW1};x Server=db;Password={pw1};x Server=db;Password=$DbPw1;x Server=db;Password=****;x", ""},
      {"all", "postgres://app:$DB_PW1@db/x postgres://app:{pw1}@db/x postgres://app:${PW}@db/x https://user:password@x.example", ""},
      {"all", "http://localhost:8080?mail=a@b.example https://a.example:8443,bob@b.example http://a.example:80#a@b", ""},
      {"all", "machine learning login page password required", ""},
      {"all", "machine api.example login jane password $TOKEN1", ""},
  };
  for (const Row& row : rows) Check(row);
}

TEST_CASE("A key is found beside its name in every usual form") {
  const std::pair<const char*, const char*> rows[] = {
      // Before the value, and behind it.
      {"api_key        = \"", "\""},
      {"apiKey := \"", "\""},
      {"os.environ[\"API_KEY\"] = \"", "\""},
      {"const apiKey: string = \"", "\";"},
      {"define('API_KEY', '", "');"},
      {"**API key:** ", ""},
      {"API key:\n", "\n"},
      {"{\"name\":\"API_KEY\",\"value\":\"", "\"}"},
      {"- name: API_KEY\n  value: \"", "\"\n"},
      {"<apiKey>", "</apiKey>"},
      {"<add key=\"ApiKey\" value=\"", "\"/>"},
      {"Your api key is ", ", keep it."},
      {"tool --token ", " run"},
      {"ENCRYPTION_KEY=", ""},
      {"SIGNING_KEY=", ""},
      {"SECRET_KEY_BASE=", ""},
      {"AZURE_OPENAI_KEY=", ""},
      {"DD_APP_KEY=", ""},
      {"Ocp-Apim-Subscription-Key: ", ""},
      {"headers = {'Authorization': f'Bearer ", "'}"},
      {"setHeader(\"Authorization\", \"Bearer ", "\")"},
      {"if token == \"", "\":"},
  };
  for (const auto& [before, behind] : rows) {
    const auto policies = MustCompile(OneRule("{secrets: all}", "redact"));
    const std::string text = std::string("x ") + before + kValue + behind;
    INFO(text);
    const Filtered whole = MustFilter(*policies, text);
    CHECK(whole.text.find(kValue.substr(0, 6)) == std::string::npos);
    CHECK(whole.text.find(kValue.substr(18)) == std::string::npos);
    CHECK(whole.text.ends_with(behind));
    CheckStream(*policies, text, whole, [] { return std::size_t{1}; });
  }
}

TEST_CASE("Code, names of things and tokens of pages beside a key's name are none") {
  for (const char* text : {
           "password = random_password.db_password_1.result, token = module.eks_cluster_1.cluster_auth_token",
           "access_key = var.aws_access_key_production1; access_token = oauth2.fetch_access_token_v2",
           "secret: app-secrets-production-eu-west-1; token=csrf_token_middleware_2; api_key: /etc/app/keys/production-1.key",
           R"({"nextToken": "eyJ2IjoxLCJpZCI6IjQ4MTIzOTQifQ", "next_page_token": "CiAKGjBpNDd2Nmp2Zml2cXRwYjBpOXA"})",
           "pageToken=CiAKGjBpNDd2Nmp2Zml2cXRwYjBpOXA&csrf_token=Zx81kQ0pLm29sTuVw3YbQr7T",
           "token = generateRandomTokenV2(user); secret = hashlib.sha256(data); api_key = loadApiKeyFromVault2(name)",
           "token = auth.fetch_token_from_vault_2(user); secret = a.b.c.d.e.f.g.h.i1(x); api_key = ____________________(x)",
           "cache_key = 9f86d081884c7d659a2feaa0c55ad015; public_key: 9f86d081884c7d659a2feaa0c55ad015; \"integrity\": "
           "\"sha512-Zx81kQ0pLm29\"",
           "api_key: 550e8400-e29b-41d4-a716-446655440000; api_key = process.env.STRIPE_API_KEY_2; token: 1234567890123456",
           "secret = internationalizationmiddleware; token: authenticationserviceprovider; api key is documented in docs/api-keys-2.md",
           "api_key: <YOUR-API-KEY-GOES-HERE-1> token=${CI_JOB_TOKEN_PRODUCTION_1} --token $GITHUB_TOKEN_PRODUCTION_1",
       }) {
    Check({"generic_api_key", text, ""});
  }
}

TEST_CASE("Keys of few different characters are found: hexadecimal, small letters, short ones") {
  const auto policies = MustCompile(OneRule("{secrets: generic_api_key}", "redact"));
  std::mt19937_64 random(TestSeed());
  const std::pair<const char*, int> rows[] = {{"{h16}", 960}, {"{h24}", 980}, {"{h32}", 990}, {"{B16}", 940}, {"{B24}", 980},
                                              {"{l16}", 940}, {"{l32}", 980}, {"{B32}", 990}, {"{W43}", 990}};
  for (const auto& [form, least] : rows) {
    int found = 0;
    for (int i = 0; i < 1000; ++i) found += MustFilter(*policies, "API_KEY=" + MakeSecret(form, random)).raw.empty() ? 0 : 1;
    INFO(form << ": " << found);
    CHECK(found >= least);
  }
}

}  // namespace tollgate::policy
