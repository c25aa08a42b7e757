//! An endpoint that implements just enough of the APIs of EC2 and SSM: it records requests and
//! answers them from a script.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_ec2::config::{
    AsyncSleep, Credentials, SharedAsyncSleep, SharedCredentialsProvider, Sleep,
};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

/// The architecture of this host, and of the instances unless a test says otherwise.
pub(crate) const ARCH: &str = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };
/// The other architecture, with its image.
pub(crate) const OTHER_ARCH: &str = if cfg!(target_arch = "aarch64") { "x86_64" } else { "arm64" };
const OTHER_IMAGE: &str = "ami-of-the-other";
const REQUEST_SIZE_MAX: usize = 1 << 20;
/// The longest pause of clients.
pub(crate) const PAUSE_MAX: Duration = Duration::from_secs(20);

/// One request of the EC2 API.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) action: String,
    pub(crate) parameters: BTreeMap<String, String>,
}

impl Call {
    pub(crate) fn get(&self, name: &str) -> &str {
        self.parameters.get(name).map_or("", String::as_str)
    }
}

/// The answers of the endpoint.
pub(crate) struct Script {
    /// The codes with which the first launches are refused.
    pub(crate) refusals: Vec<&'static str>,
    /// The results of the first fleets; later ones get what they ask for.
    pub(crate) fleets: Vec<Fleet>,
    /// An action that these credentials may not take.
    pub(crate) denied: &'static str,
    /// The description of the instance type.
    pub(crate) arch: &'static str,
    /// The ranges that the user's security group lets in.
    pub(crate) open_to: &'static str,
    /// The available types: name, architecture, cores, MiB of memory, whether they have disks or a
    /// GPU. Types that a request names are added.
    pub(crate) types: &'static [(&'static str, &'static str, u32, u32, bool, bool)],
    /// How long a launch takes.
    pub(crate) delay: Duration,
    /// The subnets with the letters of their zones.
    pub(crate) subnets: &'static [(&'static str, &'static str)],
    /// True if instances are pending. Otherwise they have already ended when they are described:
    /// most of these tests are about the requests.
    pub(crate) pending: bool,
    /// The public name of instances, which run if they have one.
    pub(crate) public_name: &'static str,
}

/// The result of a fleet.
#[derive(Clone, Copy)]
pub(crate) enum Fleet {
    /// The call is refused with this code.
    Refused(&'static str),
    /// The call is answered, and nothing is launched: the codes of its pools, with `: ` and AWS's
    /// message.
    Empty(&'static [&'static str]),
    /// An instance without a type and a subnet.
    Unnamed,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            refusals: Vec::new(),
            fleets: Vec::new(),
            denied: "",
            arch: ARCH,
            open_to: "10.0.0.0/16",
            types: &[],
            delay: Duration::ZERO,
            subnets: &[("subnet-a", "a"), ("subnet-b", "b")],
            pending: false,
            public_name: "",
        }
    }
}

/// The endpoint, on a port of its own.
pub(crate) struct Endpoint {
    url: String,
    calls: Arc<Mutex<Vec<Call>>>,
    pauses: Arc<Mutex<Vec<Duration>>>,
    _task: AbortOnDropHandle<()>,
}

impl Endpoint {
    pub(crate) async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let calls = Arc::new(Mutex::new(Vec::new()));
        let (written, script) = (Arc::clone(&calls), Arc::new(script));
        let task = tokio::runtime::Handle::current().spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (written, script) = (Arc::clone(&written), Arc::clone(&script));
                connections.spawn(async move {
                    // A client that goes away is not an error.
                    let _ = serve(stream, &written, &script).await;
                });
            }
        });
        Self { url, calls, pauses: Arc::default(), _task: AbortOnDropHandle::new(task) }
    }

    pub(crate) fn config(&self) -> SdkConfig {
        let credentials = Credentials::new("test", "test", None, None, "test");
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .endpoint_url(&self.url)
            .region(Region::new("eu-west-1"))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .sleep_impl(SharedAsyncSleep::new(Timer))
            .build()
    }

    /// The same for a client that does not pause between retries, but records the pauses.
    pub(crate) fn hasty_config(&self) -> SdkConfig {
        let timer = SharedAsyncSleep::new(Hasty { pauses: Arc::clone(&self.pauses) });
        self.config().to_builder().sleep_impl(timer).build()
    }

    /// The recorded requests.
    pub(crate) fn pauses(&self) -> Vec<Duration> {
        self.pauses.lock().clone()
    }

    /// The requested actions of the EC2 API.
    pub(crate) fn actions(&self) -> BTreeSet<String> {
        let calls = self.calls.lock();
        calls.iter().map(|call| call.action.clone()).filter(|action| !action.is_empty()).collect()
    }

    /// The calls of one action so far.
    pub(crate) fn calls(&self, action: &str) -> Vec<Call> {
        self.calls.lock().iter().filter(|call| call.action == action).cloned().collect()
    }
}

#[derive(Debug)]
struct Timer;

impl AsyncSleep for Timer {
    fn sleep(&self, duration: Duration) -> Sleep {
        Sleep::new(tokio::time::sleep(duration))
    }
}

#[derive(Debug)]
struct Hasty {
    pauses: Arc<Mutex<Vec<Duration>>>,
}

impl AsyncSleep for Hasty {
    fn sleep(&self, duration: Duration) -> Sleep {
        // Pauses are random. The round ones are the limit of an attempt, or the longest pause.
        let round = duration.subsec_nanos().is_multiple_of(1_000_000);
        if round && duration != PAUSE_MAX {
            return Timer.sleep(duration);
        }
        self.pauses.lock().push(duration);
        Timer.sleep(Duration::ZERO)
    }
}

async fn serve(
    mut stream: TcpStream,
    calls: &Mutex<Vec<Call>>,
    script: &Script,
) -> std::io::Result<()> {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") && head.len() < REQUEST_SIZE_MAX {
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8_lossy(&head).to_lowercase();
        let header = |name: &str| {
            head.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
        };
        let length = header("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        let parameters: BTreeMap<String, String> =
            url::form_urlencoded::parse(&body).into_owned().collect();
        let parameter = header("x-amz-target").is_some();
        let action = parameters.get("Action").cloned().unwrap_or_default();
        let nth = calls.lock().iter().filter(|c| c.action == action).count();
        let call = Call { action: action.clone(), parameters };
        let fleet = script.fleets.get(nth).filter(|_| action == "CreateFleet");
        let refusal = match fleet {
            Some(Fleet::Refused(code)) => Some(code),
            _ => script.refusals.get(nth).filter(|_| action == "RunInstances"),
        };
        let text = match action.as_str() {
            "CreateFleet" => fleet_of(&call, fleet),
            "CreateLaunchTemplate" => template_of(nth + 1),
            _ => answer(&call, script),
        };
        calls.lock().push(call);
        let (status, body) = match refusal {
            Some(code) => refuse(code),
            None if !action.is_empty() && action == script.denied => {
                refuse("UnauthorizedOperation")
            }
            None if parameter => {
                let other = String::from_utf8_lossy(&body).contains(OTHER_ARCH);
                let image = if other { OTHER_IMAGE } else { "ami-newest" };
                (200, format!(r#"{{"Parameter":{{"Value":"{image}"}}}}"#))
            }
            None => (200, text),
        };
        if ["RunInstances", "CreateFleet", "CreateLaunchTemplate"].contains(&&*action) {
            tokio::time::sleep(script.delay).await;
        }
        let length = body.len();
        let head = format!("HTTP/1.1 {status} -\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all((head + &body).as_bytes()).await?;
    }
}

fn refuse(code: &str) -> (u16, String) {
    let status = if code == "RequestLimitExceeded" { 503 } else { 400 };
    let error = format!("<Code>{code}</Code><Message>AWS says {code}.</Message>");
    (status, format!("<Response><Errors><Error>{error}</Error></Errors></Response>"))
}

fn template_of(n: usize) -> String {
    let id =
        format!("<launchTemplate><launchTemplateId>lt-{n}</launchTemplateId></launchTemplate>");
    format!("<CreateLaunchTemplateResponse>{id}</CreateLaunchTemplateResponse>")
}

/// The last requested pool, unless the test sets another.
fn fleet_of(call: &Call, fleet: Option<&Fleet>) -> String {
    let id = "<instanceIds><item>i-1</item></instanceIds>";
    let inner = match fleet {
        Some(Fleet::Empty(codes)) => {
            let error = |error: &&str| {
                let (code, said) = error.split_once(": ").unwrap_or((error, "AWS says so."));
                format!(
                    "<item><errorCode>{code}</errorCode><errorMessage>{said}</errorMessage></item>"
                )
            };
            format!("<errorSet>{}</errorSet>", codes.iter().map(error).collect::<String>())
        }
        Some(Fleet::Unnamed) => {
            format!("<fleetInstanceSet><item>{id}</item></fleetInstanceSet>")
        }
        _ => {
            let last = |end: &str| {
                let mut found = call.parameters.iter().filter(|(name, _)| name.ends_with(end));
                found.next_back().map_or("", |(_, value)| value)
            };
            format!(
                "<fleetInstanceSet><item><instanceType>{}</instanceType>{id}\
                 <launchTemplateAndOverrides><overrides><subnetId>{}</subnetId></overrides>\
                 </launchTemplateAndOverrides></item></fleetInstanceSet>",
                last(".InstanceType"),
                last(".SubnetId")
            )
        }
    };
    format!("<CreateFleetResponse><fleetId>fleet-1</fleetId>{inner}</CreateFleetResponse>")
}

fn types(call: &Call, script: &Script) -> String {
    let named = ["c5.large", "m5.large"].map(|name| (name, script.arch, 2, 4096, false, false));
    let named = if call.get("InstanceType.1").is_empty() { &[][..] } else { &named };
    let item = |&(name, arch, cores, memory, disk, gpu): &(&str, &str, u32, u32, bool, bool)| {
        let gpu = if gpu { "<gpuInfo><gpus/></gpuInfo>" } else { "" };
        format!(
            "<item><instanceType>{name}</instanceType><processorInfo>\
             <supportedArchitectures><item>{arch}</item></supportedArchitectures>\
             </processorInfo><vCpuInfo><defaultVCpus>{cores}</defaultVCpus></vCpuInfo>\
             <memoryInfo><sizeInMiB>{memory}</sizeInMiB></memoryInfo>\
             <instanceStorageSupported>{disk}</instanceStorageSupported>{gpu}</item>"
        )
    };
    script.types.iter().chain(named).map(item).collect()
}

fn answer(call: &Call, script: &Script) -> String {
    let (action, arch) = (&*call.action, script.arch);
    let inner = match action {
        "DescribeInstanceTypes" => types(call, script),
        "DescribeImages" => {
            let image = call.get("ImageId.1");
            let arch = if image == OTHER_IMAGE { OTHER_ARCH } else { arch };
            format!(
                "<item><imageId>{image}</imageId><architecture>{arch}</architecture>\
                 <rootDeviceName>/dev/root-of-it</rootDeviceName></item>"
            )
        }
        "DescribeSubnets" => {
            let item = |(subnet, zone): &(&str, &str)| {
                format!(
                    "<item><subnetId>{subnet}</subnetId><vpcId>vpc-1</vpcId>\
                     <availabilityZone>eu-west-1{zone}</availabilityZone>\
                     <cidrBlock>127.9.0.0/16</cidrBlock></item>"
                )
            };
            script.subnets.iter().map(item).collect()
        }
        "DescribeSpotPriceHistory" => [
            ("c5.large", "a", "0.0500"),
            ("c5.large", "b", "0.0421"),
            ("c5.large", "z", "0.0001"),
            ("r9.big", "a", "0.2000"),
            ("m8.big", "b", "0.3000"),
        ]
        .map(|(name, zone, price)| {
            format!(
                "<item><instanceType>{name}</instanceType><spotPrice>{price}</spotPrice>\
                     <availabilityZone>eu-west-1{zone}</availabilityZone></item>"
            )
        })
        .concat(),
        "DescribeSecurityGroups" => {
            let open = script.open_to;
            let ranges = match open.contains(':') {
                true => {
                    format!("<ipv6Ranges><item><cidrIpv6>{open}</cidrIpv6></item></ipv6Ranges>")
                }
                false => format!("<ipRanges><item><cidrIp>{open}</cidrIp></item></ipRanges>"),
            };
            format!(
                "<item><groupId>sg-users</groupId><ipPermissions><item><ipProtocol>tcp</ipProtocol>\
                 {ranges}</item></ipPermissions></item>"
            )
        }
        "CreateSecurityGroup" => "<groupId>sg-made</groupId>".to_owned(),
        // A group that a driver of long ago has left.
        "DescribeLaunchTemplates" => "<item><launchTemplateId>lt-old</launchTemplateId><tagSet>\
             <item><key>bigslice:created</key><value>2020-01-01T00:00:00Z</value></item></tagSet>\
             </item>"
            .to_owned(),
        "RunInstances" => "<item><instanceId>i-1</instanceId></item>".to_owned(),
        "DescribeInstances" if script.pending => "<item><instancesSet><item>\
             <instanceId>i-1</instanceId><instanceState><name>pending</name></instanceState>\
             </item></instancesSet></item>"
            .to_owned(),
        "DescribeInstances" if !script.public_name.is_empty() => format!(
            "<item><instancesSet><item><instanceId>i-1</instanceId>\
             <instanceState><name>running</name></instanceState>\
             <privateIpAddress>192.0.2.1</privateIpAddress><dnsName>{}</dnsName>\
             </item></instancesSet></item>",
            script.public_name
        ),
        "DescribeInstances" => "<item><instancesSet><item><instanceId>i-1</instanceId>\
             <instanceState><name>terminated</name></instanceState><stateReason><message>\
             Server.SpotInstanceTermination</message></stateReason></item></instancesSet></item>"
            .to_owned(),
        _ => String::new(),
    };
    let set = match action {
        "DescribeInstanceTypes" => "instanceTypeSet",
        "DescribeImages" => "imagesSet",
        "DescribeSubnets" => "subnetSet",
        "DescribeSecurityGroups" => "securityGroupInfo",
        "DescribeSpotPriceHistory" => "spotPriceHistorySet",
        "RunInstances" => "instancesSet",
        "DescribeInstances" => "reservationSet",
        "DescribeLaunchTemplates" => "launchTemplates",
        _ => return format!("<{action}Response>{inner}</{action}Response>"),
    };
    format!("<{action}Response><{set}>{inner}</{set}></{action}Response>")
}
