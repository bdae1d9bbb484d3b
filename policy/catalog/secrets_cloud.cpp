// Prefixes and lengths as the providers' documentation and their own secret-scanning partners state them.
//
// Tested by tests/policy/catalog_test.cpp.
#include "policy/catalog/secrets.h"

namespace tollgate::policy {
namespace {

#define TG_ASSIGN_SIGN "[\"']?[ \\t]{0,3}(?:=>|[:=])[ \\t]{0,3}[\"']?"
#define TG_UUID "[a-f0-9]{8}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{12}"

constexpr SecretKind kRows[] = {
    {"aws_access_key_id", "aws_access_key", R"(\b(?:AKIA|ABIA|ACCA)[A-Z2-7]{16})", 2.5},
    {"aws_temporary_access_key_id", "aws_access_key", R"(\bASIA[A-Z2-7]{16})", 2.5},
    {"aws_secret_key", "", "(?i:aws.?secret.?(?:access.?)?key|secretaccesskey)" TG_ASSIGN_SIGN "[A-Za-z0-9/+]{40}", 0, AcceptAssignedKey},
    {"aws_session_token", "", "(?:FwoGZXIvYXdz|IQoJb3JpZ2luX2Vj)[A-Za-z0-9/+=]{80,}", 3.5, nullptr, 2048},
    {"aws_bedrock_api_key", "", R"(\bABSK[A-Za-z0-9+/]{100,270}={0,2})", 3.5},
    {"aws_mws_auth_token", "", "\\bamzn\\.mws\\." TG_UUID, 3},
    {"google_api_key", "", R"(\bAIza[0-9A-Za-z_-]{35})", 3},
    {"google_auth_key", "", R"(\bAQ\.Ab8RN6[A-Za-z0-9_-]{40,50})", 3.5},
    {"google_oauth_client_secret", "", R"(\bGOCSPX-[A-Za-z0-9_-]{28})", 3},
    {"google_oauth_access_token", "", R"(\bya29\.[A-Za-z0-9_-]{30,400})", 3.5},
    {"google_oauth_refresh_token", "", R"(\b1//0[A-Za-z0-9_-]{40,120})", 3.5},
    {"google_service_account_key", "", R"("private_key_id"\s{0,3}:\s{0,3}"[a-f0-9]{40}")", 3},
    {"azure_storage_account_key", "", R"(AccountKey=[A-Za-z0-9+/]{86}==)", 4},
    {"azure_shared_access_key", "", R"(SharedAccessKey=[A-Za-z0-9+/]{42,44}=)", 4},
    {"azure_sas_signature", "", R"([?&]sig=[A-Za-z0-9%+/]{43,80}(?:%3D|=))", 4},
    {"azure_ad_client_secret", "", R"(\b[A-Za-z0-9_~.]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,34})", 4},
    {"azure_devops_pat", "", R"(\b[A-Za-z0-9]{76}AZDO[A-Za-z0-9]{4}\b)", 4},
    {"azure_function_key", "", R"(\b[A-Za-z0-9_-]{44}AzFu[A-Za-z0-9_-]{4}[A-Za-z0-9_=]{2,4})", 4},
    {"azure_cosmosdb_key", "", R"(\b[A-Za-z0-9]{76}ACDb[A-Za-z0-9]{4}(?:==)?)", 4},
    {"alibaba_access_key_id", "", R"(\bLTAI[A-Za-z0-9]{20}\b)", 3.2},
    {"tencent_secret_id", "", R"(\bAKID[A-Za-z0-9]{32}\b)", 3.4},
    {"yandex_cloud_api_key", "", R"(\bAQVN[A-Za-z0-9_-]{35,38})", 3.5},
    {"yandex_iam_token", "", R"(\bt1\.[A-Za-z0-9_-]{20,200}={0,2}\.[A-Za-z0-9_-]{86}={0,2})", 4},
    {"digitalocean_pat", "digitalocean_token", R"(\bdop_v1_[a-f0-9]{64})", 3},
    {"digitalocean_oauth_token", "digitalocean_token", R"(\bdoo_v1_[a-f0-9]{64})", 3},
    {"digitalocean_refresh_token", "digitalocean_token", R"(\bdor_v1_[a-f0-9]{64})", 3},
    {"heroku_api_key", "", R"(\bHRKU-AA[A-Za-z0-9_-]{58})", 3.5},
    {"fly_access_token", "", R"(\b(?:fo1_[A-Za-z0-9_-]{43}|fm[12][ar]?_[A-Za-z0-9+/]{100,600}={0,2}))", 3.5},
    {"netlify_token", "", R"(\bnfp_[A-Za-z0-9]{36})", 3.2},
    {"vercel_blob_token", "", R"(\bvercel_blob_rw_[A-Za-z0-9]{16}_[A-Za-z0-9]{28,32})", 3.5},
    {"render_api_key", "", R"(\brnd_[A-Za-z0-9]{28,40})", 3.2},
    {"cloudflare_origin_ca_key", "", R"(\bv1\.0-[a-f0-9]{24}-[a-f0-9]{146}\b)", 3},
    {"scalingo_token", "", R"(\btk-us-[A-Za-z0-9_-]{48})", 3.5},
    {"deno_token", "", R"(\bdd[pow]_[A-Za-z0-9]{36})", 3.2},
    {"tailscale_key", "", R"(\btskey-(?:auth|api|client|scim|webhook)-[A-Za-z0-9]{8,24}CNTRL-[A-Za-z0-9]{16,40})", 3.2},
    {"defined_networking_token", "", R"(\bdnkey-[A-Za-z0-9=_-]{26}-[A-Za-z0-9=_-]{52})", 3.5},
    {"terraform_cloud_token", "", R"(\b[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_-]{60,70})", 3.5},
    {"vault_service_token", "", R"(\bhvs\.[A-Za-z0-9_-]{24,120})", 3.2},
    {"vault_batch_token", "", R"(\bhvb\.[A-Za-z0-9_-]{138,300})", 3.5},
    {"doppler_personal_token", "", R"(\bdp\.pt\.[A-Za-z0-9]{40,44}\b)", 3.5},
    {"doppler_service_token", "", R"(\bdp\.st\.(?:[a-z0-9_-]{2,35}\.)?[A-Za-z0-9]{40,44}\b)", 3.5},
    {"doppler_scim_token", "", R"(\bdp\.(?:ct|sa|scim|audit)\.[A-Za-z0-9]{40,44}\b)", 3.5},
    {"onepassword_service_account_token", "", R"(\bops_eyJ[A-Za-z0-9+/]{250,}={0,3})", 4, nullptr, 2048},
    {"onepassword_secret_key", "", R"(\bA3-[A-Z0-9]{6}-(?:[A-Z0-9]{11}|[A-Z0-9]{6}-[A-Z0-9]{5})-[A-Z0-9]{5}-[A-Z0-9]{5}-[A-Z0-9]{5}\b)",
     3.2},
    {"databricks_token", "", R"(\bdapi[a-f0-9]{32}(?:-\d)?\b)", 3},
    {"planetscale_token", "", R"(\bpscale_tkn_[A-Za-z0-9_-]{32,64})", 3.5},
    {"planetscale_password", "", R"(\bpscale_pw_[A-Za-z0-9_-]{32,64})", 3.5},
    {"planetscale_oauth_token", "", R"(\bpscale_oauth_[A-Za-z0-9_-]{32,64})", 3.5},
    {"supabase_access_token", "", R"(\bsbp_[a-f0-9]{40})", 3},
    {"supabase_secret_key", "", R"(\bsb_secret_[A-Za-z0-9_-]{31,60})", 3.2},
    {"neon_api_key", "", R"(\bnapi_[a-z0-9]{64})", 3.2},
    {"clickhouse_cloud_key", "", R"(\b4b1d[A-Za-z0-9]{38}\b)", 3.5},
    {"openshift_token", "", R"(\bsha256~[A-Za-z0-9_-]{43})", 3.5},
    {"grafana_cloud_token", "", R"(\bglc_eyJ[A-Za-z0-9+/]{32,400}={0,3})", 3.5},
    {"grafana_service_account_token", "", R"(\bglsa_[A-Za-z0-9]{32}_[a-f0-9]{8})", 3.2},
    {"grafana_legacy_api_key", "", R"(\beyJrIjoi[A-Za-z0-9]{60,400}={0,3})", 3.5},
    {"newrelic_user_key", "", R"(\bNRAK-[A-Z0-9]{27})", 3.2},
    {"newrelic_insert_key", "", R"(\bNRII-[A-Za-z0-9_-]{32})", 3.2},
    {"newrelic_browser_key", "", R"(\bNRJS-[a-f0-9]{19})", 2.8},
    {"sentry_org_token", "", R"(\bsntrys_eyJ[A-Za-z0-9+/]{60,400}={0,2}_[A-Za-z0-9+/]{43})", 4},
    {"sentry_user_token", "", R"(\bsntryu_[a-f0-9]{64})", 3},
    {"dynatrace_token", "", R"(\bdt0[a-z]\d{2}\.[A-Z0-9]{24}\.[A-Z0-9]{64})", 3.5},
    {"honeycomb_key", "", R"(\bhc[abx][il]k_[A-Za-z0-9]{58})", 3.5},
};

}  // namespace

std::span<const SecretKind> CloudSecrets() { return kRows; }

}  // namespace tollgate::policy
