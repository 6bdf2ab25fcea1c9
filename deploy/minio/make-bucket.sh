#!/bin/sh
# Creates the bucket and a user that may use only this bucket. Has no effect if both exist.
set -eu

export MC_CONFIG_DIR=/tmp/mc
until mc alias set minio "$S3_ENDPOINT" "$MINIO_ROOT_USER" "$MINIO_ROOT_PASSWORD" >/dev/null 2>&1; do sleep 1; done
mc mb --ignore-existing "minio/$S3_BUCKET"

cat > /tmp/policy.json <<END
{
  "Version": "2012-10-17",
  "Statement": [
    { "Effect": "Allow", "Action": ["s3:ListBucket", "s3:GetBucketLocation"], "Resource": ["arn:aws:s3:::$S3_BUCKET"] },
    {
      "Effect": "Allow",
      "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"],
      "Resource": ["arn:aws:s3:::$S3_BUCKET/*"]
    }
  ]
}
END
mc admin policy create minio waybill /tmp/policy.json
mc admin user add minio "$S3_ACCESS_KEY" "$S3_SECRET_KEY"
# MinIO refuses it if the policy is attached already.
mc admin policy attach minio waybill --user "$S3_ACCESS_KEY" >/dev/null 2>&1 || true
